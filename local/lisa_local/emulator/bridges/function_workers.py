"""Functions: credentials nobody can guess, an environment of their own, and no idle process for ever.

As shipped their keys are a hash of two ARNs, they inherit everything in the emulator's environment, one worker of
every function lives on once it was called, and a worker whose handler raises is killed, so that each refused token
costs a cold start of the authorizer. On AWS an exception ends the invocation alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc, sts

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace
from lisa_local.emulator.environment import FUNCTION_VARIABLES, IDLE_WORKER_SECONDS

LAST_WORKER_SECONDS = 120
"""The last idle worker of a function ends after this time: a cold start costs a second, a worker 60 MB."""

_SWEEP_SECONDS = 15


class _Environment(Mapping[str, str]):
    """`os.environ` reduced to what a function may see."""

    def __getitem__(self, name: str) -> str:
        if name not in FUNCTION_VARIABLES:
            raise KeyError(name)
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in os.environ if name in FUNCTION_VARIABLES)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Os(ModuleType):
    """The module `os`, but for its `environ`."""

    environ = _Environment()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def install(context: Context) -> None:
    credentials = _unguessable(context.seed)
    replace(lambda_runtime, "execution_credentials", credentials)
    replace(lambda_svc, "execution_credentials", credentials)  # imported by name
    for module in (lambda_runtime, lambda_svc):
        replace(module, "os", _Os("os"))
    replace(lambda_runtime, "reap_idle_workers", end_idle_workers)
    replace(lambda_svc, "reap_idle_workers", end_idle_workers)
    for name in ("_workers", "_lock", "kill_workers", "_account_region_from_function_config", "_REAP_GRACE"):
        original(lambda_runtime, name)
    replace(lambda_runtime.Worker, "invoke", _sparing(original(lambda_runtime.Worker, "invoke")))
    threading.Thread(target=_sweep, daemon=True, name="lisa-function-sweep").start()


def _unguessable(seed: bytes) -> Any:
    def execution_credentials(config: dict[str, Any]) -> dict[str, str]:
        account, _ = lambda_runtime._account_region_from_function_config(config)
        role = config.get("Role", "")
        role_name = role.rsplit("/", 1)[-1]
        session = config.get("FunctionName", "function")[:64]

        def derived(purpose: str) -> str:
            message = f"{purpose}\0{config.get('FunctionArn', '')}\0{role}"
            return hmac.new(seed, message.encode(), hashlib.sha256).hexdigest()

        key, secret, token = f"ASIA{derived('key')[:16].upper()}", derived("secret"), derived("token")
        sts.register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/{session}",
                "UserId": f"{role_name}:{session}",
                "SecretAccessKey": secret,
                "SessionToken": token,
                "PrincipalType": "AssumedRole",
                "AccountId": account,
            },
        )
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}

    return execution_credentials


def _sparing(invoke: Any) -> Any:
    """`Worker.invoke` that keeps a worker whose handler has raised, and ends one that hangs or has died."""
    doomed = threading.local()
    signal = original(lambda_runtime, "_signal")
    collect = original(lambda_runtime, "_collect")

    def later(proc: Any) -> None:
        if getattr(doomed, "procs", None) is None:
            signal(proc)
        else:
            doomed.procs.append(proc)

    def collected(proc: Any, deadline: float) -> None:
        if getattr(doomed, "procs", None) is None:
            collect(proc, deadline)

    replace(lambda_runtime, "_signal", later)
    replace(lambda_runtime, "_collect", collected)

    def invoke_sparing(self: Any, *arguments: Any, **options: Any) -> Any:
        doomed.procs = []
        try:
            answer: dict[str, Any] = {}
            answer = invoke(self, *arguments, **options)
        finally:
            procs, doomed.procs = doomed.procs, None
            # What a handler has raised comes with its trace; the worker that says so is well.
            if procs and "trace" in answer:
                self._proc = procs.pop()
            for proc in procs:
                signal(proc)
                collect(proc, time.monotonic() + lambda_runtime._REAP_GRACE)
        return answer

    return invoke_sparing


def end_idle_workers(ttl: float | None = None) -> int:
    """End workers that are idle for long, the last one of a function too; answers how many."""
    surplus_ttl = IDLE_WORKER_SECONDS if ttl is None else ttl
    last_ttl = LAST_WORKER_SECONDS if ttl is None else ttl
    now = time.time()
    ended = []
    with lambda_runtime._lock:
        for key, workers in list(lambda_runtime._workers.items()):
            kept = []
            # The one used last stays longest.
            for index, worker in enumerate(sorted(workers, key=lambda each: each.last_used, reverse=True)):
                idle = now - worker.last_used
                if worker.in_use or idle < (last_ttl if index == 0 else surplus_ttl):
                    kept.append(worker)
                else:
                    ended.append(worker)
            if kept:
                lambda_runtime._workers[key] = kept
            else:
                del lambda_runtime._workers[key]
    lambda_runtime.kill_workers(ended)
    return len(ended)


def _sweep() -> None:
    while True:
        time.sleep(_SWEEP_SECONDS)
        end_idle_workers()


BRIDGE = Bridge(
    "functions",
    "own random credentials, clean environment; workers outlive an exception, idle ones end",
    install,
)
