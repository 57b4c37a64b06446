"""The gateway as the benchmark runs it: the real application, with routes from memory and a key of its own.

Sign-in, policy, validation, limits, budgets, usage (counted, summed up and handed over) and the access log are on,
exactly as in `python -m lisa_gateway`; only the models and limits tables, the usage queue and the issuer's key set are
replaced. Prints one line of JSON: the port and a token.

  PYTHONPATH=containers/litellm:layers/lisa .venvs/gateway/bin/python bench/gateway_serve.py UPSTREAM [LOG]
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import jwt
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa
from limits import EVERYTHING, Memory, subjects  # bench/limits.py
from lisa.audit.event import AuditEvent
from lisa.identity import IdentitySettings, TokenVerifier
from lisa.identity.keys import KeySet
from lisa.limits.prices import Price
from lisa.models.routes import HostedTarget, Route
from lisa.usage.message import Message
from lisa_gateway.access_log import AccessLog
from lisa_gateway.application import Application
from lisa_gateway.limits import Limits
from lisa_gateway.settings import Settings

ISSUER, CLIENT, MODELS = "https://issuer.example", "bench", ("gpt-4o-mini",)


class Routes:
    """Stands in for the models table."""

    def __init__(self, upstream: str) -> None:
        target = HostedTarget(engine="llamacpp", base_url=upstream, host_header="bench.models.internal")
        self._routes = [
            Route(
                model_id=model,
                model_name=model,
                model_type="textgen",
                mode="chat",
                state="active",
                hosting_type="lisa_hosted",
                allowed_groups=("team-a",),
                created_at=1,
                target=target,
            )
            for model in MODELS
        ]

    def version(self) -> int:
        return 1

    def routes(self) -> tuple[int, list[Route]]:
        return 1, self._routes

    def acknowledge(self, instance_id: str, version: int) -> None:
        pass

    def leave(self, instance_id: str) -> None:
        pass


class Queue:
    """Stands in for the usage queue: encodes what it takes, as the real one's client would, and lets it go."""

    def send(self, messages: Sequence[Message]) -> set[str]:
        return {message.id for message in messages if message.encode()}


class Events:
    """Stands in for the audit log."""

    def publish(self, events: Sequence[AuditEvent]) -> None:
        pass


def not_measured() -> NoReturn:
    raise NotImplementedError("retrieval is no part of what is measured")


def sign_in() -> tuple[str, dict[str, Any]]:
    """A token as Cognito issues it, and the key set that it is verified with."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    now = time.time()
    claims = {
        "iss": ISSUER,
        "sub": "0" * 36,
        "aud": CLIENT,
        "token_use": "id",
        "iat": now,
        "exp": now + 86_400,
        "cognito:username": "alice",
        "cognito:groups": ["user", "team-a"],
        "email": "alice@example.com",
    }
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "bench"})
    return token, {"keys": [{**public, "kid": "bench", "use": "sig"}]}


async def main(upstream: str, log: BinaryIO) -> None:
    token, keys = sign_in()
    identity = IdentitySettings(issuer=ISSUER, client_id=CLIENT)
    # Limits and budgets of the user, her group and the model; they never refuse.
    table = Memory(subjects(EVERYTHING, "user", "group", "model"), [Price(MODELS[0], 150_000, 600_000)])
    application = Application(
        Settings(
            identity=identity, models_table="-", usage_queue_url="-", event_bus="-", host="127.0.0.1", port=0
        ),
        verifier=TokenVerifier(identity, keys=KeySet(ISSUER, "-", fetch=lambda url: keys)),
        open_store=lambda: Routes(upstream),
        read_secret=lambda arn: "",
        open_usage_queue=Queue,
        open_audit=Events,
        open_invoker=not_measured,
        open_bucket=not_measured,
        limits=Limits(lambda: (table, table)),
        access_log=AccessLog(log),
        prepare_seconds=3600,  # LiteLLM is no part of what is measured
    )
    port = await application.start()
    print(json.dumps({"port": port, "token": token}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with Path(sys.argv[2] if len(sys.argv) > 2 else "/dev/null").open("wb") as log:
        uvloop.run(main(sys.argv[1], log))
