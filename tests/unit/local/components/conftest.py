"""Components as they are: processes of their own, on free ports, with a state folder each."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from lisa_local.postgres.account import forget_copy

HERE = Path(__file__).parent

SERVER = """
import http.server, json, os, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    def do_GET(self):
        if self.path == "/env":
            body = json.dumps(dict(os.environ))
        elif self.path == "/children":
            import subprocess
            body = str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
        elif self.path == "/exit":
            os._exit(7)
        elif self.path == "/health" and os.path.exists(os.environ.get("SICK", "/nowhere")):
            self.send_error(503)
            return
        else:
            body = os.environ.get("NAME", "app") + " " + os.environ["HOST"]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, form, *args):
        print("request", self.path, flush=True)
if os.environ.get("IGNORE_TERM"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "EXIT" in os.environ:
    print("bad weights", flush=True)
    sys.exit(int(os.environ["EXIT"]))
time.sleep(float(os.environ.get("DELAY", "0")))
print("listening", os.environ["HOST"], os.environ["PORT"], flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 15) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@dataclass
class Cloud:
    """A state folder, and the components started on it."""

    home: Path
    block: int = field(default_factory=lambda: random.randrange(100, 250, 2))
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("door", "emulator", "postgres", "opensearch")}
    )
    instance: str = field(default_factory=lambda: secrets.token_hex(4))
    prefix: str = ""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def write_config(self) -> None:
        server = self.home / "server.py"
        server.write_text(SERVER)
        image = {"command": [sys.executable, str(server)], "env": {"FROM_IMAGE": "yes"}, "cwd": "/"}
        config = {
            "instance": self.instance,
            "region": "us-east-1",
            "account": "000000000000",
            "ports": self.ports,
            "loopback_block": self.block,
            "images": {"lisa/test:local": image},
            "prefix": self.prefix,
        }
        (self.home / "config.json").write_text(json.dumps(config))

    def start(self, component: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a component and wait until it says that it is ready."""
        log = self.home / f"{component}.log"
        offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"lisa_local.{component}", str(self.home)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )
        self.running[component] = process

        def ready() -> bool:
            written = log.read_bytes()[offset:]
            assert process.poll() is None, f"{component} ended:\n{written.decode()}"
            return b"ready\n" in written

        wait_for(ready, f"{component} to be ready", 60)
        return process

    def kill(self, component: str) -> None:
        process = self.running.pop(component)
        process.kill()
        process.wait()

    def stop(self, component: str) -> int:
        process = self.running.pop(component)
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def close(self) -> None:
        for component in reversed(list(self.running)):
            process = self.running.pop(component)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        forget_copy(self.home / "postgres")

    def log(self, component: str) -> str:
        return (self.home / f"{component}.log").read_text()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['emulator']}"

    @property
    def operator(self) -> dict[str, str]:
        key = json.loads((self.home / "operator.json").read_text())
        return {
            "aws_access_key_id": key["access_key_id"],
            "aws_secret_access_key": key["secret_access_key"],
        }

    def client(self, service: str, **credentials: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
            **(credentials or self.operator),
        )


@pytest.fixture
def new_cloud(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    with ExitStack() as stack:

        def make(**settings: Any) -> Cloud:
            home = tmp_path / secrets.token_hex(3)
            home.mkdir()
            made = Cloud(home, **settings)
            made.write_config()
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def cloud_folder(new_cloud: Callable[..., Cloud]) -> Cloud:
    """A state folder on which nothing runs yet."""
    return new_cloud()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running emulator and engine, for the tests of a module that leave them as they are."""
    made = Cloud(tmp_path_factory.mktemp("c"))
    made.write_config()
    try:
        made.start("engine")
        made.start("emulator")
        yield made
    finally:
        made.close()


def deploy(cloud: Cloud, name: str, template: str, **parameters: str) -> dict[str, str]:
    """Create or update a stack as `sam deploy` does; answers its outputs."""
    cloudformation = cloud.client("cloudformation")
    try:
        cloudformation.describe_stacks(StackName=name)
        kind, done = "UPDATE", "stack_update_complete"
    except cloudformation.exceptions.ClientError:
        kind, done = "CREATE", "stack_create_complete"
    change_set = f"c{secrets.token_hex(6)}"
    cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=change_set,
        ChangeSetType=kind,
        TemplateBody=template,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    quick = {"Delay": 1, "MaxAttempts": 60}
    cloudformation.get_waiter("change_set_create_complete").wait(
        StackName=name, ChangeSetName=change_set, WaiterConfig=quick
    )
    cloudformation.execute_change_set(StackName=name, ChangeSetName=change_set)
    cloudformation.get_waiter(done).wait(StackName=name, WaiterConfig=quick)
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


SERVICE = (HERE / "service.yaml").read_text()
