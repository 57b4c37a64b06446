"""Vectors of texts, and texts ordered by their fit to a query, from the models behind the gateway.

Retrieval speaks to the gateway as any client does, with a key of its own (the service key) in place of a user's token.
"""

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import urllib3

from lisa import aws
from lisa.errors import InvalidRequest, LisaError, NotFound, Unavailable
from lisa.identity.service_key import service_key

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

# A request holds about a second's work of a CPU, so that a failed one costs little to repeat; two at once keep the
# engine busy while the next is written and the last one read. Both are chosen, not measured.
BATCH_TEXTS = 64
BATCH_CHARACTERS = 64 * 1024
PARALLEL = 2
RETRY_SECONDS = 5
CONNECT_SECONDS = 2.0
_UNKNOWN_MODEL = "model_not_found"
_FLOAT_BYTES = 4


class Embedder:
    """Functions without numpy (it comes with the layer `rag`) may ask for dimensions and rerank.

    `service_key` is asked for the key when it is first needed, and again when the gateway refuses the one it gave.

    One for a process: it keeps its connections. May be used from several threads.
    """

    def __init__(
        self,
        url: str,
        service_key: Callable[[], str],
        *,
        parallel: int = PARALLEL,
        read_seconds: float = 60.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._ask_key = service_key
        self._key = ""
        self._lock = threading.Lock()
        self._dimensions: dict[str, int] = {}
        self._parallel = parallel
        self._http = urllib3.PoolManager(
            num_pools=1,
            maxsize=parallel,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
            retries=urllib3.Retry(connect=1, read=0, other=0, redirect=0, status=0, backoff_factor=0.1),
        )

    def embed(self, model: str, texts: Sequence[str]) -> "Vectors":
        """One row for each text, in order: (len(texts), dimensions). A text must be no longer than the model reads.

        Raises NotFound for a model that is not there, InvalidRequest when it refuses a text, Unavailable with
        `retry_after` in seconds when it, or the way to it, is down or overloaded.
        """
        import numpy as np

        if not texts:
            return np.empty((0, self.dimensions(model)), np.float32)
        batches = list(_batches(texts))
        if len(batches) == 1:
            return self._embed_batch(model, batches[0])
        with ThreadPoolExecutor(self._parallel) as pool:
            parts = pool.map(lambda batch: self._embed_batch(model, batch), batches)
            return np.concatenate(list(parts))

    def dimensions(self, model: str) -> int:
        """The length of the model's vectors: it is asked once. Raises as `embed` does."""
        if model not in self._dimensions:
            (item,) = self._embeddings(model, ["dimensions"])
            found = item["embedding"]
            self._dimensions[model] = (
                len(base64.b64decode(found)) // _FLOAT_BYTES if isinstance(found, str) else len(found)
            )
        return self._dimensions[model]

    def rerank(self, model: str, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text fits the query, in the order of `texts`; higher is better, the scale is the model's.

        Raises as `embed` does.
        """
        if not texts:
            return []
        answer = self._post(
            "/v1/rerank",
            model,
            {"query": query, "documents": list(texts), "top_n": len(texts), "return_documents": False},
        )
        try:
            results = _list(answer, "results")
            scores = {int(item["index"]): float(item["relevance_score"]) for item in results}
        except (KeyError, TypeError, ValueError):
            raise _unreadable(model) from None
        if scores.keys() != set(range(len(texts))):
            raise _unreadable(model)
        return [scores[position] for position in range(len(texts))]

    def _embed_batch(self, model: str, texts: Sequence[str]) -> "Vectors":
        import numpy as np

        try:
            vectors = np.stack([_vector(item["embedding"]) for item in self._embeddings(model, texts)])
        except (TypeError, ValueError):
            raise _unreadable(model) from None
        if not np.isfinite(vectors).all():
            raise _unreadable(model)
        return vectors

    def _embeddings(self, model: str, texts: Sequence[str]) -> list[dict[str, Any]]:
        """What the gateway answers for each text, in order; each has an `embedding` of numbers or of base64."""
        # base64 is a third of the bytes of numbers in words; LiteLLM leaves the field out for providers without it.
        answer = self._post("/v1/embeddings", model, {"input": list(texts), "encoding_format": "base64"})
        try:
            items: list[dict[str, Any]] = sorted(_list(answer, "data"), key=lambda item: int(item["index"]))
            is_whole = len(items) == len(texts) and all(item["embedding"] for item in items)
        except (KeyError, TypeError, ValueError):
            raise _unreadable(model) from None
        if not is_whole:
            raise _unreadable(model)
        return items

    def _post(self, path: str, model: str, fields: Mapping[str, Any]) -> Any:
        body = json.dumps({"model": model, **fields}).encode()
        key = self._service_key()
        answer = self._send(path, body, key)
        if answer.status == 401:
            answer = self._send(path, body, self._service_key(refused=key))
        if answer.status != 200:
            raise _error(model, answer)
        try:
            return json.loads(answer.data)
        except ValueError:
            raise _unreadable(model) from None

    def _send(self, path: str, body: bytes, key: str) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        try:
            try:
                return self._http.request("POST", self._url + path, body=body, headers=headers)
            except urllib3.exceptions.ProtocolError:  # a kept connection that had been closed meanwhile
                return self._http.request("POST", self._url + path, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(
                "The models' gateway does not answer; try again.", retry_after=RETRY_SECONDS
            ) from error

    def _service_key(self, refused: str = "") -> str:
        with self._lock:
            if not self._key or self._key == refused:
                self._key = self._ask_key()
            return self._key


@lru_cache(maxsize=1)
def embedder(read_seconds: float = 60.0) -> Embedder:
    """The process's own: `LISA_GATEWAY_URL` says where the gateway is, `LISA_SERVICE_KEY_SECRET` names the secret."""
    secret = os.environ["LISA_SERVICE_KEY_SECRET"]
    return Embedder(
        os.environ["LISA_GATEWAY_URL"],
        lambda: service_key(str(aws.secrets_manager().get_secret_value(SecretId=secret)["SecretString"])),
        read_seconds=read_seconds,
    )


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """In order, each of at most BATCH_TEXTS texts and, unless one alone is longer, BATCH_CHARACTERS characters."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == BATCH_TEXTS or size + len(text) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    yield batch


def _vector(value: object) -> "Vectors":
    import numpy as np

    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), "<f4").astype(np.float32, copy=False)
    return np.asarray(value, np.float32)


def _list(answer: Any, name: str) -> list[Any]:
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise TypeError(name)
    return found


def _unreadable(model: str) -> Unavailable:
    return Unavailable(f"The model {model} gave an answer that cannot be used; try again.", retry_after=60)


def _error(model: str, answer: urllib3.BaseHTTPResponse) -> LisaError:
    """The gateway's error in our own terms: what a caller can mend, and what only time can."""
    detail: Mapping[str, Any] = {}
    try:
        detail = json.loads(answer.data)["error"]
        said, code = str(detail["message"]), str(detail.get("code") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        said, code = f"status {answer.status}", ""
    if answer.status == 404 or code == _UNKNOWN_MODEL:
        return NotFound(
            f"There is no model {model}: it was removed, or never was. {said}", code=_UNKNOWN_MODEL
        )
    if answer.status in {400, 413, 422}:
        return InvalidRequest(f"The model {model} refused a text: {said}")
    seconds = answer.headers.get("retry-after", "")
    return Unavailable(
        f"The model {model} cannot be asked just now: {said}",
        retry_after=int(seconds) if seconds.isdigit() else RETRY_SECONDS,
    )
