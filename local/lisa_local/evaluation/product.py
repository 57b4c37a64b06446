"""The product as its users see it: files dropped into a folder, searches over HTTP."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from lisa_local.bringup.users import Directory
from lisa_local.cloud import LocalCloud
from lisa_local.console import Problem
from lisa_local.evaluation.dataset import Dataset, content, document_id, file_name

TOP = 100  # documents
_PATIENCE_S = 180.0  # without any progress
_PAUSE_S = 3.0
_WAKING_TRIES = 5


@dataclass(frozen=True, slots=True)
class Collection:
    id: str
    name: str
    repository: str
    repository_type: str
    model: str


class Product:
    """A local cloud, as an administrator. `say` prints progress."""

    def __init__(self, cloud: LocalCloud, say: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._say = say
        self._token, self._token_until = "", 0.0

    def collection(self, repository: str, name: str) -> Collection:
        """The collection of this name or id; made when there is none."""
        place = f"/api/repository/{quote(repository, safe='')}"
        about = self._call("GET", place)
        found = self._cloud.call("GET", f"{place}/collection/{quote(name, safe='')}", token=self._key())
        if found.status == 404:
            self._say(f"creating the collection {name}")
            made = self._call("POST", f"{place}/collection", {"name": name})
        elif found.status == 200:
            made = found.body
        else:
            raise Problem(found.message)
        return Collection(
            made["collectionId"], made["name"], repository, about["type"], str(made["embeddingModel"])
        )

    def fill(self, collection: Collection, dataset: Dataset) -> int:
        """Drops the files that are missing or differ, and waits until all are searched. How many were dropped."""
        bucket = self._cloud.output("DocumentsBucket")
        s3 = self._cloud.client("s3")
        prefix = f"{collection.repository}/{quote(collection.id, safe='')}/{quote(dataset.name, safe='')}/"
        there: dict[str, str] = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            there |= {each["Key"]: each["ETag"].strip('"') for each in page.get("Contents", [])}
        files = {prefix + file_name(document.id): content(document) for document in dataset.documents}
        missing = {
            key: body
            for key, body in files.items()
            if there.get(key) != hashlib.md5(body, usedforsecurity=False).hexdigest()
        }
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(
                    lambda item: s3.put_object(
                        Bucket=bucket, Key=item[0], Body=item[1], ContentType="text/html"
                    ),
                    missing.items(),
                )
            )
        self._await(collection, {f"s3://{bucket}/{key}" for key in files}, bool(missing))
        return len(missing)

    def search(self, collection: Collection, query: str, **options: str) -> tuple[list[str], float]:
        """Documents best first, each by its best piece, and the seconds that the call took."""
        parameters = {"query": query, "collectionId": collection.id, "topK": str(TOP)}
        parameters |= {"groupBy": "document", **options}
        path = f"/api/repository/{quote(collection.repository, safe='')}/similaritySearch?{urlencode(parameters)}"
        key = self._key()
        started = time.perf_counter()
        answer = self._cloud.call("GET", path, token=key)
        seconds = time.perf_counter() - started
        for _ in range(_WAKING_TRIES):
            if answer.status != 503:
                break
            threading.Event().wait(_PAUSE_S)
            started = time.perf_counter()
            answer = self._cloud.call("GET", path, token=key)
            seconds = time.perf_counter() - started
        if answer.status != 200:
            raise Problem(answer.message)
        names = [hit["Document"]["metadata"]["name"] for hit in answer.body["docs"]]
        return list(dict.fromkeys(document_id(name) for name in names)), seconds

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """By the gateway; what the model cannot read whole is cut."""
        body = {"model": model, "input": list(texts), "truncate_prompt_tokens": -1}
        answer = self._call("POST", "/v1/embeddings", body, timeout=300)
        return [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]

    def _await(self, collection: Collection, sources: set[str], dropped: bool) -> None:
        started = seen_at = time.monotonic()
        before = -1
        while True:
            waiting = sources - self._searched(collection)
            if not waiting:
                break
            if len(waiting) != before:
                before, seen_at = len(waiting), time.monotonic()
                self._say(f"{len(sources) - len(waiting):,} of {len(sources):,} documents are searched")
            if time.monotonic() - seen_at > _PATIENCE_S:
                raise Problem(self._stuck(collection, waiting))
            threading.Event().wait(_PAUSE_S)
        if dropped:
            # The last change of a file that was there already may still be on its way.
            self._say(f"all documents were searched after {time.monotonic() - started:.0f} s")

    def _searched(self, collection: Collection) -> set[str]:
        place = f"/api/repository/{quote(collection.repository, safe='')}/document"
        found = self._call("GET", f"{place}?{urlencode({'collectionId': collection.id})}", timeout=60)
        return {str(document["source"]) for document in found["documents"]}

    def _stuck(self, collection: Collection, waiting: set[str]) -> str:
        place = f"/api/repository/{quote(collection.repository, safe='')}/jobs?pageSize=100"
        jobs = self._call("GET", place)["jobs"]
        reasons = sorted(
            {str(job["error_message"]) for job in jobs if job["s3_path"] in waiting and job["error_message"]}
        )
        first = ", ".join(sorted(waiting)[:3])
        return f"{len(waiting)} documents are not searched, such as {first}. {' '.join(reasons[:3])}".strip()

    def _call(self, method: str, path: str, body: Any = None, timeout: float = 30) -> Any:
        answer = self._cloud.call(method, path, token=self._key(), body=body, timeout=timeout)
        if answer.status >= 400:
            raise Problem(answer.message)
        return answer.body

    def _key(self) -> str:
        if time.monotonic() > self._token_until:
            self._token, self._token_until = Directory(self._cloud).token("admin"), time.monotonic() + 600
        return self._token
