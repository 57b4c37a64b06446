"""The local cloud's own figures: how fast it comes up, how fast it hosts a model, how much memory it takes when idle.

Starts a cloud of its own in a new folder (or DIR), and stops it again. Beside the hosted model, in the same run, the
bare part: the same model server as a process, weights already fetched.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from lisa_local.bringup.users import Directory
from lisa_local.cloud import LocalCloud
from lisa_local.home import ROOT, Home
from lisa_local.supervisor.control import Control

LISA = ROOT / ".venv" / "bin" / "lisa"
EMBED = "all-minilm-l6-v2"
MIB = 1 << 20


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def until(condition: Callable[[], bool], seconds: float) -> float:
    """How long it took for the condition to hold."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            sys.exit(f"not within {seconds:.0f} s")
        time.sleep(0.02)
    return time.perf_counter() - started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench:
    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        ports = {name: str(free_port()) for name in ("LISA_PORT", "LISA_EMULATOR_PORT", "LISA_POSTGRES_PORT")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LISA_"))}
        self.environment = {**kept, **ports, "LISA_HOME": str(home)}

    def lisa(self, *arguments: str) -> None:
        done = subprocess.run(
            [LISA, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"lisa {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")

    def memory(self) -> dict[str, float]:
        """Resident MiB by program, of everything that the cloud runs. Shared pages count in each."""
        cloud = Control(self.home).status()
        if cloud is None:
            sys.exit("no cloud runs")
        found: dict[str, float] = {}
        root = psutil.Process(cloud.pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                name, size = label(process), process.memory_info().rss / MIB
            except psutil.NoSuchProcess:
                continue
            found[name] = found.get(name, 0) + size
        return found

    def embed(self, local: LocalCloud, token: str, model: str) -> bool:
        answer = local.call("POST", "/v1/embeddings", token=token, body={"model": model, "input": "x"})
        return answer.status == 200

    def create(self, model: str) -> tuple[float, float]:
        """Seconds from POST to InService, and from there to the first answer."""
        local = LocalCloud(self.home)
        token = Directory(local).token("admin")
        definition = local.call("GET", f"/api/models/{EMBED}", token=token).body["model"]
        started = time.perf_counter()
        created = local.call("POST", "/api/models", token=token, body={**definition, "modelId": model})
        if created.status != 201:
            sys.exit(f"POST /models: {created}")

        def in_service() -> bool:
            found = local.call("GET", f"/api/models/{model}", token=token).body["model"]
            if found["status"] == "Failed":
                sys.exit(f"{model} failed: {found['reason']}")
            return bool(found["status"] == "InService")

        until(in_service, 120)
        ready = time.perf_counter() - started
        callable_after = until(lambda: self.embed(local, token, model), 30)
        local.call("DELETE", f"/api/models/{model}", token=token)
        until(lambda: local.call("GET", f"/api/models/{model}", token=token).status == 404, 120)
        return ready, callable_after

    def bare(self) -> float:
        """The model server alone, with the weights in its cache: start to healthy."""
        weights = next(self.home.path.glob("weights/**/model.safetensors")).parent
        port = free_port()
        local = LocalCloud(self.home)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "containers" / "model"),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "LISA_MODEL_ID": EMBED,
            "LISA_ENGINE": "onnx",
            "LISA_MODEL_TYPE": "embedding",
            "LISA_WEIGHTS_URI": f"s3://{local.output('WeightsBucket')}/sentence-transformers/all-MiniLM-L6-v2/",
            "LISA_WEIGHTS_DIR": str(self.home.path / "weights"),
            **local.environment(),
        }
        started = time.perf_counter()
        process = subprocess.Popen(
            [ROOT / ".venvs/model/bin/python", "-m", "lisa_model"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=weights,
        )
        try:
            until(lambda: healthy(port), 60)
            return time.perf_counter() - started
        finally:
            process.terminate()
            process.wait(20)


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def label(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    for mark, name in (
        ("lisa_gateway.litellm_app", "LiteLLM"),
        ("lisa_gateway", "gateway"),
        ("lisa_model", "models"),
        ("llamacpp", "models"),
        ("ministack-lambda", "functions"),
        ("lisa_local.", words.split("lisa_local.")[-1].split()[0]),
        ("postgres", "postgres"),
    ):
        if mark in words:
            return name
    return process.name()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="state folder, must be new (default: a temporary one)")
    parser.add_argument("--idle", type=int, default=150, help="seconds without a call before memory is read")
    parser.add_argument("--creates", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options.home or Path(scratch, "home"))
        try:
            figures: dict[str, Any] = {"up, new state folder": timed(lambda: bench.lisa("up"))}
            figures["up, while it runs"] = timed(lambda: bench.lisa("up"))
            figures["down"] = timed(lambda: bench.lisa("down"))
            figures["up, after down"] = timed(lambda: bench.lisa("up"))
            creates = [bench.create(f"bench-{number}") for number in range(options.creates)]
            figures["POST to InService, median"] = statistics.median(ready for ready, _ in creates)
            figures["InService to first answer, median"] = statistics.median(later for _, later in creates)
            figures["bare model server, start to healthy"] = bench.bare()
            # Not a wait for something to happen: being idle for this long is what is measured.
            time.sleep(options.idle)
            memory = bench.memory()
        finally:
            bench.lisa("down")
    print("| what | s |\n| --- | --- |")
    for name, value in figures.items():
        print(f"| {name} | {value:.1f} |")
    ratio = figures["POST to InService, median"] / figures["bare model server, start to healthy"]
    print(f"| POST to InService / bare model server | {ratio:.1f} x |")
    print("\n| idle, resident | MiB |\n| --- | --- |")
    for name, size in sorted(memory.items(), key=lambda item: -item[1]):
        print(f"| {name} | {size:.0f} |")
    print(f"| in all | {sum(memory.values()):.0f} |")
    if options.json:
        print(json.dumps({"seconds": figures, "idle_mib": memory}))


if __name__ == "__main__":
    main()
