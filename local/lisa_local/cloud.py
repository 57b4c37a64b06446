"""A deployed local cloud as its operator sees it: AWS clients, stack outputs, and its public API."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config as BotoConfig

from lisa_local.config import Config
from lisa_local.console import Problem
from lisa_local.home import Home, read_json

TOKEN_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What the public API answered; `body` is parsed JSON, or text when it is none."""

    status: int
    body: Any

    @property
    def message(self) -> str:
        if isinstance(self.body, dict):
            error = self.body.get("error")
            found = self.body.get("message") or (error.get("message") if isinstance(error, dict) else error)
            return str(found or self.body)
        return str(self.body)


class LocalCloud:
    def __init__(self, home: Home) -> None:
        self.home = home
        config = Config.load(home)
        if config is None:
            raise Problem("There is no local cloud yet: start one with `lisa up`.")
        self.config = config

    @cached_property
    def operator(self) -> dict[str, str]:
        """The access key of the IAM user `operator`, which the emulator made at its first start."""
        key = read_json(self.home.operator)
        if key is None:
            raise Problem("The local cloud has no operator yet: start it with `lisa up`.")
        return {"access_key_id": key["access_key_id"], "secret_access_key": key["secret_access_key"]}

    @property
    def outputs(self) -> dict[str, str]:
        """Outputs of the root stack."""
        outputs = read_json(self.home.deployment)
        if outputs is None:
            raise Problem("Nothing is deployed on the local cloud yet: run `lisa up`.")
        return dict(outputs)

    def output(self, name: str) -> str:
        try:
            return self.outputs[name]
        except KeyError:
            raise Problem(
                f"The deployed stack has no output {name}: run `lisa up` to deploy it again."
            ) from None

    def environment(self) -> dict[str, str]:
        """What the AWS tools need to reach this cloud, and never another account by mistake."""
        return {
            "AWS_ENDPOINT_URL": self.config.emulator_url,
            "AWS_DEFAULT_REGION": self.config.region,
            "AWS_ACCESS_KEY_ID": self.operator["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.operator["secret_access_key"],
        }

    def client(self, service: str) -> Any:
        session: Any = boto3.Session(
            aws_access_key_id=self.operator["access_key_id"],
            aws_secret_access_key=self.operator["secret_access_key"],
            region_name=self.config.region,
        )
        return session.client(
            service,
            endpoint_url=self.config.emulator_url,
            config=BotoConfig(
                retries={"max_attempts": 5, "mode": "standard"},
                s3={"addressing_style": "path"},
                inject_host_prefix=False,
                max_pool_connections=16,
                connect_timeout=5,
                # The operator's key stays here, whatever proxy the shell is set to.
                proxies={},
            ),
        )

    def call(
        self, method: str, path: str, *, token: str | None = None, body: Any = None, timeout: float = 30
    ) -> Answer:
        """One call through the front door.

        Raises:
            OSError: nothing answers.
        """
        request = urllib.request.Request(  # noqa: S310 - the address is this cloud's own
            self.config.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Accept": "application/json", "Content-Type": "application/json"},
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as response:
                return Answer(response.status, _parse(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _parse(error.read()))


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


def without_aws(environment: dict[str, str] | None = None) -> dict[str, str]:
    """An environment without the caller's AWS settings: no profile decides where we deploy."""
    source = os.environ if environment is None else environment
    return {name: value for name, value in source.items() if not name.startswith("AWS_")}
