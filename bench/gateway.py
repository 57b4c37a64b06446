"""How fast is the gateway, beside its upstream called directly, a plain pass-through and a bare LiteLLM?

  python bench/gateway.py --peers GATEWAY_PEERS_FOLDER --raw FOLDER_OF_raw_passthrough.py --work WORK_FOLDER

All run at the same time on this machine and are measured one after the other, in turns, against one stub upstream.
`stub` and `load` are built with Go from the peers' folder. The plain pass-through runs in .venv, LiteLLM and the
gateway in .venvs/gateway. The gateway has sign-in (a real JWT), policy, validation, usage counting, metrics and the
access log on. Prints a table and, for each target, whether it is met; exits 1 when one is not.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GATEWAY_PYTHON = ROOT / ".venvs/gateway/bin/python"
PLAIN_PYTHON = ROOT / ".venv/bin/python"
STUB_PORT = 18070  # the peers' configurations name it
CONCURRENCIES = (1, 8, 32)
STUB, RAW, LITELLM, OURS = "stub direct", "raw_passthrough", "LiteLLM bare", "LISA gateway"
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Peer:
    name: str
    port: int
    process: subprocess.Popen[bytes] | None
    model: str
    token: str = ""
    results: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def cpu(self) -> float:
        """CPU seconds so far."""
        if self.process is None:
            return 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_mib(self) -> float:
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def median(self, mode: str, concurrency: int, what: str) -> float:
        return statistics.median(r[what] for r in self.results[mode, concurrency])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"a peer ended with {process.returncode}: {process.args!r}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nothing listens on {port}")


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.work: Path = args.work.resolve()
        self.started: list[subprocess.Popen[bytes]] = []

    def build(self) -> None:
        (self.work / "bin").mkdir(parents=True, exist_ok=True)
        if not (self.work / "bin/load").exists():
            subprocess.run(
                ["go", "build", "-o", f"{self.work / 'bin'}/", "./stub", "./load"],
                cwd=self.args.peers,
                check=True,
            )

    def start(self, name: str, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        log = (self.work / f"{name.replace(' ', '-')}.log").open("wb")
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE if name == OURS else log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**clean, **environment},
        )
        self.started.append(process)
        return process

    def peers(self) -> list[Peer]:
        stub = self.start(STUB, [str(self.work / "bin/stub"), "-addr", f"127.0.0.1:{STUB_PORT}"])
        wait_for_port(STUB_PORT, stub)
        found = [Peer(STUB, STUB_PORT, None, "gpt-4o-mini")]
        ours = self.start(
            OURS,
            [
                str(GATEWAY_PYTHON),
                str(ROOT / "bench/gateway_serve.py"),
                f"http://127.0.0.1:{STUB_PORT}",
                str(self.work / "access.log"),
            ],
            PYTHONPATH=f"{ROOT / 'containers/litellm'}:{ROOT / 'layers/lisa'}",
        )
        assert ours.stdout is not None
        ready = json.loads(ours.stdout.readline())
        wanted = self.args.only
        if wanted is None or RAW in wanted:
            port = free_port()
            raw = self.start(
                RAW,
                [
                    str(PLAIN_PYTHON),
                    "-m",
                    "uvicorn",
                    "raw_passthrough:app",
                    "--app-dir",
                    str(self.args.raw),
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                    "--no-access-log",
                    "--log-level",
                    "warning",
                ],
            )
            wait_for_port(port, raw)
            found.append(Peer(RAW, port, raw, "fake", "sk-bob"))
        if wanted is None or LITELLM in wanted:
            port = free_port()
            bare = self.start(
                LITELLM,
                [
                    str(GATEWAY_PYTHON),
                    "-m",
                    "uvicorn",
                    "litellm.proxy.proxy_server:app",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                    "--no-access-log",
                    "--log-level",
                    "error",
                ],
                CONFIG_FILE_PATH=str(self.args.peers / "configs/litellm-bare.yaml"),
                NO_DOCS="True",
                LITELLM_LOCAL_MODEL_COST_MAP="True",
                LITELLM_LOG="ERROR",
            )
            wait_for_port(port, bare)
            found.append(Peer(LITELLM, port, bare, "gpt-4o-mini", "sk-bench"))
        found.append(Peer(OURS, ready["port"], ours, "gpt-4o-mini", ready["token"]))
        return found

    def load(self, peer: Peer, mode: str, concurrency: int, n: int) -> dict[str, Any]:
        command = [
            str(self.work / "bin/load"),
            "-url",
            peer.url,
            "-model",
            peer.model,
            "-c",
            str(concurrency),
            "-n",
            str(n),
            "-reps",
            "1",
            "-warm",
            "0",
            "-max",
            f"{self.args.seconds}s",
            f"-stream={mode != 'json'}",
            "-max-tokens",
            "1000" if mode == "paced" else "64",
        ]
        if peer.token:
            command += ["-key", peer.token]
        before = peer.cpu()
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result: dict[str, Any] = json.loads(out.splitlines()[-1])
        if result["errors"]:
            sys.exit(f"{peer.name}: {result['errors']} errors, the first: {result.get('first_error')}")
        result["cpu_ms"] = 1000 * (peer.cpu() - before) / max(1, result["n"])
        return result

    def measure(self, peers: list[Peer]) -> None:
        counts = {"json": 12_000, "stream": 3_000, "paced": 40}
        for mode in self.args.modes.split(","):
            for concurrency in CONCURRENCIES:
                n = counts[mode] * (concurrency if mode == "paced" else 1)
                if mode == "paced" and concurrency == max(CONCURRENCIES):
                    # All connections begin in the same instant; below 100 requests each, the p99 is that instant's.
                    n *= 5
                for peer in peers:
                    self.load(peer, mode, concurrency, max(concurrency * 4, n // 20))  # warm-up
                for _ in range(self.args.reps):
                    for peer in peers:
                        result = self.load(peer, mode, concurrency, n)
                        peer.results.setdefault((mode, concurrency), []).append(result)

    def memory(self, ours: Peer) -> tuple[float, float]:
        """Resident MiB after a warm-up of 10,000 requests, and after 100,000 more."""
        for _ in range(2):
            self.load_all(ours, 5_000)
        first = ours.memory_mib()
        for _ in range(5):
            self.load_all(ours, 20_000)
        return first, ours.memory_mib()

    def load_all(self, peer: Peer, n: int) -> None:
        left = n
        while left > 0:
            left -= self.load(peer, "json", 32, left)["n"]

    def stop(self) -> None:
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def table(peers: list[Peer], modes: list[str]) -> str:
    lines = []
    titles = {
        "json": "one JSON answer",
        "stream": "a stream of 22 events at once",
        "paced": "a stream of 22 events, 5 ms apart",
    }
    base = next((p for p in peers if p.name == RAW), None)
    for mode in modes:
        lines += [
            "",
            f"{titles[mode]}: requests/s (to raw_passthrough = 1), p50/p99 ms"
            f"{' of the first byte' if mode == 'paced' else ''}, CPU ms a request",
            "",
            "| | " + " | ".join(f"c={c}" for c in CONCURRENCIES) + " | CPU c=1 / 8 / 32 |",
            "| --- | " + "--- | " * len(CONCURRENCIES) + "--- |",
        ]
        prefix = "ttfb_" if mode == "paced" else ""
        for peer in peers:
            cells = []
            for c in CONCURRENCIES:
                rps = peer.median(mode, c, "rps")
                ratio = f" ({rps / base.median(mode, c, 'rps'):.2f})" if base else ""
                cells.append(
                    f"{rps:.0f}{ratio}, {peer.median(mode, c, prefix + 'p50_ms'):.2f}/"
                    f"{peer.median(mode, c, prefix + 'p99_ms'):.2f}"
                )
            cpu = " / ".join(f"{peer.median(mode, c, 'cpu_ms'):.3f}" for c in CONCURRENCIES)
            lines.append(f"| {peer.name} | " + " | ".join(cells) + f" | {cpu if peer.process else '-'} |")
    return "\n".join(lines[1:])


def targets(
    peers: list[Peer], modes: list[str], memory: tuple[float, float] | None
) -> list[tuple[str, str, bool]]:
    by = {peer.name: peer for peer in peers}
    ours, found = by[OURS], []
    if "json" in modes:
        for other, least in ((RAW, (0.75, 0.75, 0.75)), (LITELLM, (15, 30, 30))):
            if other in by:
                for c, want in zip(CONCURRENCIES, least, strict=True):
                    got = ours.median("json", c, "rps") / by[other].median("json", c, "rps")
                    found.append((f"requests/s to {other}'s, c={c}: >= {want}", f"{got:.2f}", got >= want))
        added = ours.median("json", 1, "p50_ms") - by[STUB].median("json", 1, "p50_ms")
        found.append(("added at p50, c=1: <= 0.5 ms", f"{added:.2f}", added <= 0.5))
        for c in CONCURRENCIES:
            cpu = ours.median("json", c, "cpu_ms")
            found.append((f"CPU a request, c={c}: <= 0.2 ms", f"{cpu:.3f}", cpu <= 0.2))
    if "paced" in modes:
        p50, p99 = ours.median("paced", 1, "ttfb_p50_ms"), ours.median("paced", 32, "ttfb_p99_ms")
        found.append(("first byte of a paced stream, p50, c=1: <= 1.5 ms", f"{p50:.2f}", p50 <= 1.5))
        found.append(("first byte of a paced stream, p99, c=32: <= 15 ms", f"{p99:.2f}", p99 <= 15))
    if memory is not None:
        grown = memory[1] - memory[0]
        found.append(
            (
                "memory over 100,000 requests: flat (<= 2 MiB)",
                f"{memory[0]:.1f} -> {memory[1]:.1f} MiB",
                grown <= 2,
            )
        )
    return found


def check(peers: list[Peer]) -> None:
    """Everyone answers; the gateway refuses a wrong token and a model that is not there."""
    for peer in peers:
        for token, model, expected in (
            (peer.token, peer.model, 200),
            ("wrong", peer.model, 401),
            (peer.token, "no", 404),
        ):
            if expected != 200 and peer.name not in {OURS, RAW}:
                continue
            body = json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]}).encode()
            request = urllib.request.Request(
                peer.url, body, {"authorization": f"Bearer {token}", "content-type": "application/json"}
            )
            try:
                status = urllib.request.urlopen(request, timeout=30).status
            except urllib.error.HTTPError as error:
                status = error.code
            if status != expected:
                sys.exit(f"{peer.name} answers {status} where {expected} was expected")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, required=True, help="folder with stub/, load/ and configs/")
    parser.add_argument("--raw", type=Path, required=True, help="folder of raw_passthrough.py")
    parser.add_argument("--work", type=Path, required=True, help="any folder; binaries and logs go there")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="the longest a repeat may take")
    parser.add_argument("--modes", default="json,stream,paced")
    parser.add_argument("--only", action="append", choices=[RAW, LITELLM], help="leave other peers out")
    parser.add_argument("--no-memory", action="store_true", help="leave the 100,000 requests out")
    args = parser.parse_args()
    bench = Bench(args)
    bench.build()
    try:
        peers = bench.peers()
        check(peers)
        bench.measure(peers)
        memory = None if args.no_memory else bench.memory(peers[-1])
    finally:
        bench.stop()
    modes = args.modes.split(",")
    print(table(peers, modes))
    print("\n| target | measured | met |\n| --- | --- | --- |")
    met = True
    for what, got, ok in targets(peers, modes, memory):
        met &= ok
        print(f"| {what} | {got} | {'yes' if ok else 'NO'} |")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
