"""What stands behind the gateway's files and vector stores, in memory: S3, and functions."""

import json
import threading
from collections.abc import Iterator
from typing import Any


class MemoryBucket:
    """S3, as far as uploads go. `open` are the parts of uploads that were neither completed nor aborted."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, list[bytes]] = {}
        self.largest = 0
        self.down = False
        self.hold = threading.Event()
        self.hold.set()

    def put(self, key: str, body: bytes) -> None:
        self._check(body)
        self.objects[key] = body

    def begin(self, key: str) -> str:
        self._check(b"")
        self.parts[key] = []
        return key

    def part(self, key: str, upload: str, number: int, body: bytes) -> str:
        self.hold.wait(10)
        self._check(body)
        self.parts[upload].append(body)
        assert len(self.parts[upload]) == number
        return str(number)

    def complete(self, key: str, upload: str, etags: list[str]) -> None:
        self.objects[key] = b"".join(self.parts.pop(upload))

    def abort(self, key: str, upload: str) -> None:
        del self.parts[upload]

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        body = self.objects[key]
        pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
        return len(body), pieces

    def _check(self, body: bytes) -> None:
        if self.down:
            raise ConnectionError("no S3")
        self.largest = max(self.largest, len(body))


class Registry:
    """The function of vector stores, as far as it keeps files."""

    def __init__(self) -> None:
        self.files: dict[str, dict] = {}
        self.refuses = False

    def invoke(self, function: str, event: bytes) -> bytes:
        call = json.loads(event)
        user = call["principal"]["user"]
        if call["method"] == "POST":
            if self.refuses:
                return json.dumps({"status": 400, "error": {"message": "no", "code": "no"}}).encode()
            self.files[call["body"]["id"]] = call["body"]
            return json.dumps({"status": 200, "body": {"object": "file", **call["body"]}}).encode()
        file = self.files[call["path"]["fileId"]]
        key = f"_files/{user}/{file['id']}/{file['filename']}"
        return json.dumps({"status": 200, "body": {"filename": file["filename"], "key": key}}).encode()


class Nothing:
    """The functions where there are no files and no vector stores."""

    def invoke(self, function: str, event: bytes) -> bytes:
        return json.dumps(self._answer(json.loads(event))).encode()

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        route = call.get("method"), call.get("route")
        if route in {("GET", "/files"), ("GET", "/vector_stores")}:
            page = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
            return {"status": 200, "body": page}
        if route == ("POST", "/files"):
            return {"status": 200, "body": {"object": "file", **call["body"]}}
        if route == ("POST", "/vector_stores"):
            return {"status": 400, "error": {"message": "name must be a text.", "code": "invalid_request"}}
        return {"status": 404, "error": {"message": "There is no such thing.", "code": "not_found"}}
