"""`sam build` and `sam deploy --config-env local`: the same commands and templates as on AWS."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from lisa_local.cloud import LocalCloud, without_aws
from lisa_local.component import write_private
from lisa_local.console import Problem
from lisa_local.home import ROOT, Home, read_json
from lisa_local.supervisor import logfiles

STACK = "lisa"
SAM = ROOT / ".venvs" / "sam" / "bin" / "sam"
DEPLOY_SECONDS = 600
MODEL_START_SECONDS = "120"
# What `sam build` reads. A build depends on nothing else, so an unchanged one need not be repeated.
SOURCES = (
    "template.yaml",
    "samconfig.toml",
    "stacks",
    "functions",
    "statemachines",
    "layers",
    "containers/model/model.yaml",
    "requirements/layer.txt",
    "requirements/rag.txt",
)


def source_digest(root: Path, parameters: dict[str, str]) -> str:
    """A hash of everything that a build and its result depend on."""
    digest = hashlib.sha256(json.dumps([sys.version_info[:2], parameters], sort_keys=True).encode())
    for path in _source_files(root):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _source_files(root: Path) -> Iterator[Path]:
    for name in SOURCES:
        source = root / name
        if source.is_file():
            yield source
        for path in sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def parameters(cloud: LocalCloud) -> dict[str, str]:
    """Where this machine differs from an account; the rest is samconfig.toml's or a default."""
    retrieval = _retrieval(cloud)
    return {
        "DeploymentName": STACK,
        "Stage": "local",
        "PythonRuntime": f"python{sys.version_info[0]}.{sys.version_info[1]}",
        "Architecture": "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64",
        "PublicUrl": cloud.config.url,
        "SignInBaseUrl": cloud.config.emulator_url,
        # Small models on the processor are there within seconds; who waits should not wait an hour.
        "ModelStartTimeoutSeconds": MODEL_START_SECONDS,
        "LongIngestions": "1",
        "PgvectorStore": "existing",
        "PgvectorHost": str(retrieval["host"]),
        "PgvectorPort": str(retrieval["port"]),
        "PgvectorDatabase": str(retrieval["database"]),
        "PgvectorUser": str(retrieval["user"]),
        "OpenSearchStore": "existing" if cloud.config.opensearch_url else "none",
    }


def secret_parameters(cloud: LocalCloud) -> dict[str, str]:
    """What only the deployment itself is told, never a build or a command line."""
    opensearch = cloud.config.opensearch
    stored = read_json(cloud.home.opensearch) if opensearch.user else None
    return {
        "PgvectorPassword": str(_retrieval(cloud)["password"]),
        # Told even when empty, which a command line cannot say: what is not told stays as it was.
        "OpenSearchUrl": cloud.config.opensearch_url,
        "OpenSearchUser": opensearch.user,
        "OpenSearchPassword": str((stored or {}).get("password", "")),
    }


def _retrieval(cloud: LocalCloud) -> dict[str, Any]:
    credentials = read_json(cloud.home.retrieval)
    if credentials is None:
        raise Problem("The database has no user for retrieval yet: start the local cloud with `lisa up`.")
    return dict(credentials)


class Deployment:
    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._home: Home = cloud.home
        self._parameters = parameters(cloud)

    @property
    def _built(self) -> Path:
        return self._home.build / "build" / "template.yaml"

    def build(self) -> bool:
        """Build the application; False when the last build is of the same sources."""
        stamp = self._home.build / "digest"
        digest = source_digest(ROOT, self._parameters)
        if self._built.exists() and stamp.exists() and stamp.read_text() == digest:
            return False
        self._home.build.mkdir(exist_ok=True)
        stamp.unlink(missing_ok=True)
        overrides = [
            f"ParameterKey={name},ParameterValue={value}" for name, value in self._parameters.items()
        ]
        self._sam("build", "--build-dir", str(self._built.parent), "--parameter-overrides", *overrides)
        stamp.write_text(digest)
        return True

    def deploy(self) -> None:
        overrides = [f"{name}={value}" for name, value in self._parameters.items()]
        # In a file, because everybody on the machine may read the arguments of a command.
        self._home.build.mkdir(exist_ok=True)
        secrets = self._home.build / "secrets.yaml"
        write_private(secrets, json.dumps(secret_parameters(self._cloud)) + "\n")
        self._sam(
            "deploy",
            "--template-file",
            str(self._built),
            "--stack-name",
            STACK,
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
            "--no-progressbar",
            "--parameter-overrides",
            *overrides,
            f"file://{secrets}",
        )

    def write_outputs(self) -> dict[str, str]:
        """Keep the root stack's outputs where the front door and the other commands read them."""
        stack = self._cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        write_private(self._home.deployment, json.dumps(outputs, indent=2) + "\n")
        return outputs

    def _sam(self, command: str, *arguments: str) -> None:
        log_path = self._home.logs / f"sam-{command}.log"
        environment = {
            **without_aws(),
            **self._cloud.environment(),
            # Neither profile, configuration file nor instance role of the caller decides where this goes.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(self._home.build / "cli"),
            "NO_PROXY": "127.0.0.1,localhost",
            # `sam build` looks for the runtime's interpreter on the PATH.
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        }
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                # The configuration file is looked for beside the template, which is the built one.
                [
                    str(SAM),
                    command,
                    "--config-file",
                    str(ROOT / "samconfig.toml"),
                    "--config-env",
                    "local",
                    *arguments,
                ],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                code = process.wait(DEPLOY_SECONDS)
            except subprocess.TimeoutExpired:
                raise Problem(
                    f"sam {command} did not end within {DEPLOY_SECONDS} s; it was ended ({log_path})."
                ) from None
            finally:
                # sam is in a session of its own, so Ctrl-C does not reach it: it and its tools end here.
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if code != 0:
            raise Problem(self._explain(command, log_path))

    def _explain(self, command: str, log_path: Path) -> str:
        lines = logfiles.last_lines(log_path, 400)
        causes = [line.strip() for line in lines if re.search(r"\b(Error|error|ERROR|FAILED|Failed)\b", line)]
        if command == "deploy":
            causes += self._failed_resources()
        shown = list(dict.fromkeys(causes))[-8:] or [line for line in lines if line.strip()][-5:]
        extract = "".join(f"\n    {line}" for line in shown)
        return f"sam {command} failed:{extract}\nAll of it: {log_path}"

    def _failed_resources(self) -> list[str]:
        """What CloudFormation says of the resources that failed, nested stacks included."""
        cloudformation = self._cloud.client("cloudformation")
        found = []
        try:
            for stack in cloudformation.describe_stacks()["Stacks"]:
                for event in cloudformation.describe_stack_events(StackName=stack["StackId"])["StackEvents"]:
                    reason = event.get("ResourceStatusReason", "")
                    if event["ResourceStatus"].endswith("FAILED") and "cancelled" not in reason:
                        found.append(f"{stack['StackName']}/{event['LogicalResourceId']}: {reason}")
        except ClientError:
            return found
        return found[:8]
