"""`config.json`: what the components of a local cloud are told before they start."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lisa_local.component import write_private
from lisa_local.console import Problem
from lisa_local.home import ROOT, Home, read_json

REGION = "us-east-1"
ACCOUNT = "000000000000"
GATEWAY_IMAGE = "lisa/gateway:local"
MODEL_IMAGE = "lisa/model-cpu:local"


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    door: int = 8080
    emulator: int = 4566
    postgres: int = 15432
    opensearch: int = 19200


PORT_VARIABLES = {
    "door": "LISA_PORT",
    "emulator": "LISA_EMULATOR_PORT",
    "postgres": "LISA_POSTGRES_PORT",
    "opensearch": "LISA_OPENSEARCH_PORT",
}


@dataclass(frozen=True)
class OpenSearch:
    """Where repositories of type opensearch lie: on a node of ours, at a URL, or (neither) nowhere.

    `user` signs in there with the password in `Home.opensearch`; empty is without.
    """

    node: bool = False
    url: str = ""
    user: str = ""
    heap: str = "512m"


@dataclass(frozen=True)
class Config:
    instance: str
    loopback_block: int
    ports: Ports = field(default_factory=Ports)
    region: str = REGION
    account: str = ACCOUNT
    prefix: str = ""
    opensearch: OpenSearch = field(default_factory=OpenSearch)

    @classmethod
    def load(cls, home: Home) -> Config | None:
        """What the last `lisa up` wrote, or None before the first one."""
        stored = read_json(home.config)
        if stored is None:
            return None
        try:
            return cls(
                instance=stored["instance"],
                loopback_block=stored["loopback_block"],
                ports=Ports(**stored["ports"]),
                prefix=stored["prefix"],
                opensearch=OpenSearch(**stored.get("opensearch", {})),
            )
        except (KeyError, TypeError):
            raise Problem(
                f"{home.config} was written by another version: `lisa reset` starts afresh."
            ) from None

    @classmethod
    def prepare(cls, home: Home) -> Config:
        """The stored configuration, or a new one, with the ports that the environment names."""
        stored = cls.load(home)
        if stored is None:
            stored = cls(instance=secrets.token_hex(4), loopback_block=free_loopback_block())
        ports = Ports(**{name: _port(name, current) for name, current in asdict(stored.ports).items()})
        return cls(
            stored.instance,
            stored.loopback_block,
            ports,
            prefix=stored.prefix,
            opensearch=_opensearch(stored.opensearch),
        )

    def write(self, home: Home) -> None:
        home.create()
        if password := opensearch_password():
            write_private(home.opensearch, json.dumps({"password": password}) + "\n")
        write_private(home.config, json.dumps({**asdict(self), "images": images(ROOT)}, indent=2) + "\n")

    @property
    def url(self) -> str:
        """Where people reach this cloud."""
        return f"http://localhost:{self.ports.door}{self.prefix}"

    @property
    def emulator_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.emulator}"

    @property
    def opensearch_url(self) -> str:
        """Empty where there is no OpenSearch."""
        return f"http://127.0.0.1:{self.ports.opensearch}" if self.opensearch.node else self.opensearch.url


def _port(name: str, current: int) -> int:
    variable = PORT_VARIABLES[name]
    value = os.environ.get(variable)
    if not value:
        return current
    if not value.isdigit() or not 1024 <= int(value) <= 65535:
        raise Problem(f"{variable}={value} is no port: give a number from 1024 to 65535.")
    return int(value)


def _opensearch(stored: OpenSearch) -> OpenSearch:
    """What was chosen before, changed by what the environment says."""
    wanted, url = os.environ.get("OPENSEARCH", ""), os.environ.get("OPENSEARCH_URL", "")
    heap = os.environ.get("OPENSEARCH_HEAP") or stored.heap
    if wanted not in {"", "0", "1"}:
        raise Problem(f"OPENSEARCH={wanted} is neither 1 nor 0.")
    if not re.fullmatch(r"[1-9]\d*[mMgG]", heap):
        raise Problem(f"OPENSEARCH_HEAP={heap} is no size of a Java heap: write 512m or 2g.")
    if wanted == "0":
        return OpenSearch(heap=heap)
    if url and wanted == "1":
        raise Problem("OPENSEARCH=1 starts a node here and OPENSEARCH_URL names another: give one of them.")
    if url:
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.hostname or address.query:
            raise Problem("OPENSEARCH_URL is no address: write http://host:port, or https://.")
        place = address.netloc.rpartition("@")[2]
        return OpenSearch(
            url=f"{address.scheme}://{place}{address.path}".rstrip("/"),
            user=unquote(address.username or ""),
            heap=heap,
        )
    if wanted == "1":
        return OpenSearch(node=True, heap=heap)
    return replace(stored, heap=heap)


def opensearch_password() -> str:
    """The password that OPENSEARCH_URL carries this time; empty when it does not."""
    return unquote(urlsplit(os.environ.get("OPENSEARCH_URL", "")).password or "")


def images(root: Path) -> dict[str, Any]:
    """What the container engine starts for an image name: the program that the image would hold."""
    return {
        GATEWAY_IMAGE: {
            "command": [str(root / ".venvs/gateway/bin/python"), "-m", "lisa_gateway"],
            "env": {"PYTHONPATH": f"{root / 'containers/litellm'}:{root / 'layers/lisa'}"},
            "cwd": str(root),
        },
        MODEL_IMAGE: {
            "command": [str(root / ".venvs/model/bin/python"), "-m", "lisa_model"],
            "env": {"PYTHONPATH": str(root / "containers/model")},
            "cwd": str(root),
        },
    }


def free_loopback_block() -> int:
    """A pair of loopback networks, 127.<block>/16 and the next, that no running cloud holds.

    Containers and load balancers get addresses in it, and addresses are kept in the deployed stacks, so it
    is chosen once for a state folder, at random, for clouds that are not running now may run later.
    """
    blocks = list(range(10, 250, 2))
    random.shuffle(blocks)
    for block in blocks:
        claim = claim_loopback_block(block)
        if claim is not None:
            claim.close()
            return block
    raise Problem("Every loopback block is in use by another local cloud: stop one of them with `lisa down`.")


def claim_loopback_block(block: int) -> socket.socket | None:
    """Hold a block while the returned socket is open; None if another cloud holds it.

    The claim is a name in the abstract namespace, which belongs to the network namespace as the addresses do
    and vanishes with the process.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0lisa-loopback-{block}")
    except OSError:
        claim.close()
        return None
    return claim
