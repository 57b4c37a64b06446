"""Serves embeddings: POST /v1/embeddings, GET /v1/models, /health, /metrics.

The port is opened when the model is loaded. Batches of all requests take turns, so a long request does not
hold up a short one for longer than a batch.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lisa_model.embeddings.encoder import MAX_BATCH_TOKENS, Encoder
from lisa_model.embeddings.metrics import Metrics
from lisa_model.embeddings.wire import EmbeddingsRequest, RequestError, answer, too_long

_MAX_BODY_BYTES = 32 << 20
_MAX_IN_FLIGHT = 256
_DRAIN_S = 3
_KEEP_ALIVE_S = 910  # longer than the load balancer's 900 s, so that it never meets a closed connection
_CLIENT_LEFT = 499


class EmbeddingServer:
    """The routes, as methods."""

    def __init__(self, encoder: Encoder, *, model: str, max_tokens: int, truncate: bool) -> None:
        self._encoder = encoder
        self._model = model
        self._max_tokens = max_tokens
        self._truncate = truncate
        self._created = int(time.time())
        self._metrics = Metrics()
        self._turn = asyncio.Lock()  # first come, first served
        self._worker = ThreadPoolExecutor(1)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/embeddings", self.embeddings, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
                Route("/metrics", self.metrics),
            ],
            exception_handlers={HTTPException: _http_error},
        )

    async def embeddings(self, request: Request) -> Response:
        started = time.monotonic()
        self._metrics.in_flight += 1
        status, texts, tokens = 500, 0, 0
        try:
            body, texts, tokens = await self._embed(request)
            status = 200
            return Response(body, media_type="application/json")
        except RequestError as error:
            status = error.status
            headers = {"retry-after": "1"} if status == 503 else None
            return Response(error.body(), status, headers, media_type="application/json")
        except (ClientDisconnect, asyncio.CancelledError):
            status = _CLIENT_LEFT
            raise
        finally:
            self._metrics.in_flight -= 1
            self._metrics.finished(
                status=status, seconds=time.monotonic() - started, texts=texts, tokens=tokens
            )

    async def _embed(self, request: Request) -> tuple[bytes, int, int]:
        if self._metrics.in_flight > _MAX_IN_FLIGHT:
            raise RequestError("Too many requests are waiting: try again.", status=503, code="overloaded")
        wanted = EmbeddingsRequest.parse(
            await _body(request), model=self._model, dimensions=self._encoder.dimensions
        )
        sequences = await self._sequences(wanted)
        vectors = np.empty((len(sequences), self._encoder.dimensions), np.float32)
        for group in self._encoder.batches(sequences):
            if await request.is_disconnected():
                raise ClientDisconnect
            async with self._turn:
                vectors[group] = await self._run(self._encoder.encode, [sequences[index] for index in group])
        tokens = sum(map(len, sequences))
        return answer(self._model, vectors, tokens, wanted.encoding_format), len(sequences), tokens

    async def _sequences(self, wanted: EmbeddingsRequest) -> list[list[int]]:
        """Token ids of every input, none longer than the limit."""
        if isinstance(wanted.inputs[0], str):
            async with self._turn:
                sequences = await self._run(self._encoder.tokenize, wanted.inputs)
        else:
            try:
                sequences = [self._encoder.with_markers(ids) for ids in wanted.inputs]
            except ValueError as error:
                raise RequestError(f"{error}.", param="input", code="invalid_value") from None
        limit = self._max_tokens
        cut = wanted.truncate_to if wanted.truncate_to is not None else (-1 if self._truncate else None)
        if cut is not None:
            limit = limit if cut == -1 else min(cut, limit)
            return [self._encoder.truncated(ids, limit) for ids in sequences]
        for index, ids in enumerate(sequences):
            if len(ids) > limit:
                raise too_long(len(ids), limit, index)
        return sequences

    async def _run(self, function, argument):
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, argument)

    async def models(self, _request: Request) -> Response:
        item = {"id": self._model, "object": "model", "created": self._created, "owned_by": "lisa"}
        item["max_model_len"] = self._max_tokens
        return JSONResponse({"object": "list", "data": [item]})

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(self, _request: Request) -> Response:
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_BODY_BYTES:
            raise RequestError(
                f"The body is larger than {_MAX_BODY_BYTES} bytes.", status=413, code="too_large"
            )
        chunks.append(chunk)
    return b"".join(chunks)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- what this handler is registered for
    shaped = RequestError(
        error.detail, status=error.status_code, code="not_found" if error.status_code == 404 else None
    )
    return Response(shaped.body(), error.status_code, error.headers, media_type="application/json")


def main() -> None:
    options = _options()
    started = time.monotonic()
    encoder = Encoder(
        weights=options.weights,
        graph=options.graph,
        threads=options.threads,
        max_batch_tokens=options.max_batch_tokens,
    )
    # The first run sets up the buffers: better now than in somebody's request.
    encoder.encode(encoder.tokenize(["ready"]))
    print(f"loaded {options.alias} in {time.monotonic() - started:.1f} s", flush=True)
    server = EmbeddingServer(
        encoder, model=options.alias, max_tokens=options.max_tokens, truncate=options.truncate
    )
    uvicorn.run(
        server.app(),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        server_header=False,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lisa_model.embeddings.server")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--max-batch-tokens", type=int, default=MAX_BATCH_TOKENS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--truncate", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
