"""The model container's process, started as the image starts it, on a free port of this machine."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venvs" / "model" / "bin" / "python"
PACKAGE = ROOT / "containers" / "model"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class ModelProcess:
    """`python -m lisa_model` with the given settings."""

    def __init__(self, folder: Path, s3: str, **settings: str) -> None:
        self.port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PACKAGE),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "LISA_WEIGHTS_DIR": str(folder / "weights"),
            "AWS_ENDPOINT_URL": s3,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
            **settings,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"log-{self.port}"
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "lisa_model"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def ready(self, within: float = 60) -> float:
        """Waits until /health answers 200. Returns the seconds since the start."""
        pause = threading.Event()
        while time.monotonic() - self.started < within:
            if self._process.poll() is not None:
                raise AssertionError("the process ended:\n" + "\n".join(self.lines()[-20:]))
            try:
                if self.get("/health").status == 200:
                    return time.monotonic() - self.started
            except OSError:
                pass
            pause.wait(0.05)
        raise AssertionError("not ready in time:\n" + "\n".join(self.lines()[-20:]))

    def ended(self, within: float = 30) -> int:
        """The exit code."""
        return self._process.wait(within)

    def stop(self) -> float:
        """SIGTERM. Returns the seconds until the process was gone."""
        asked = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        return time.monotonic() - asked

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def get(self, path: str) -> Answer:
        return self._request("GET", path, None)

    def post(self, path: str, body: Any) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._request("POST", path, data)

    def _request(self, method: str, path: str, data: bytes | None) -> Answer:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())
