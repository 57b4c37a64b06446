"""The functions that know vector stores and search them, asked on behalf of a caller whose token was verified here."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import orjson
from lisa.identity import Principal
from lisa.rag.wire import error_of, principal_document

from lisa_gateway.upstream_errors import unavailable

log = logging.getLogger(__name__)

MAX_WAITING = 128
BUSY_RETRY_SECONDS = 2


class Invoker(Protocol):
    """Calls a function and waits for its answer; whatever it raises, there was none."""

    def invoke(self, function: str, event: bytes) -> bytes: ...


class LambdaInvoker:
    """`client` is boto3's, which threads may share."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def invoke(self, function: str, event: bytes) -> bytes:
        answer = self._client.invoke(FunctionName=function, Payload=event)
        body: bytes = answer["Payload"].read()
        if "FunctionError" in answer:
            raise RuntimeError(answer["FunctionError"])
        return body


class Functions:
    """`vector_stores` and `search` are names or ARNs. `open_invoker` is called once, by a thread."""

    def __init__(self, open_invoker: Callable[[], Invoker], *, vector_stores: str, search: str) -> None:
        self._open = open_invoker
        self._invoker: Invoker | None = None
        self._vector_stores = vector_stores
        self._search = search
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="functions")
        self._waiting = 0

    async def vector_stores(self, principal: Principal, call: Mapping[str, Any]) -> Any:
        """What the vector stores' function answers; raises the LisaError that it answers instead."""
        return await self._call(self._vector_stores, principal, call)

    async def search(self, principal: Principal, call: Mapping[str, Any]) -> Any:
        """The same for the function that searches."""
        return await self._call(self._search, principal, call)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: str, principal: Principal, call: Mapping[str, Any]) -> Any:
        if self._waiting >= MAX_WAITING:
            raise unavailable("Too many calls of vector stores are under way; try again.", BUSY_RETRY_SECONDS)
        event = orjson.dumps({"principal": principal_document(principal), **call})
        self._waiting += 1
        try:
            answered = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._invoke, function, event
            )
            answer = orjson.loads(answered)
        except Exception as error:  # boto3's many, and a function that broke
            log.warning("a function gave no answer", extra={"function": function, "error": str(error)[:300]})
            raise unavailable("Vector stores cannot be reached; try again.", BUSY_RETRY_SECONDS) from error
        finally:
            self._waiting -= 1
        refused = error_of(answer)
        if refused is not None:
            raise refused
        return answer.get("body")

    def _invoke(self, function: str, event: bytes) -> bytes:
        if self._invoker is None:
            self._invoker = self._open()
        return self._invoker.invoke(function, event)
