"""The function that searches, as the gateway calls it: two vector stores, and what is found in them."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from lisa.rag.openai.ids import file_id_of_document, vector_store_id

HANDBOOK = str(uuid.uuid5(uuid.NAMESPACE_URL, "handbook"))
MENU = str(uuid.uuid5(uuid.NAMESPACE_URL, "menu"))
HANDBOOK_FILE, MENU_FILE = file_id_of_document(HANDBOOK), file_id_of_document(MENU)
STORE = vector_store_id("default", "c-1")
TEAM_STORE = vector_store_id("default", "for-team-b")


def hit(
    text: str, *, document: str = HANDBOOK, name: str = "handbook.pdf", score: float = 0.9, **more: Any
) -> Any:
    return {
        "documentId": document,
        "documentName": name,
        "source": f"s3://drop/default/c-1/{name}",
        "owner": "",
        "text": text,
        "score": score,
        "attributes": {"year": 2024.0},
        "page": 3,
        "heading": [],
        **more,
    }


@dataclass
class Library:
    """An Invoker. `hits` are what every search finds; the collection `for-team-b` is for that group."""

    hits: list[Any] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    down: bool = False

    def invoke(self, function: str, event: bytes) -> bytes:
        call = json.loads(event)
        self.calls.append(call)
        if self.down:
            raise ConnectionError("no such function")
        return json.dumps(self._answer(call)).encode()

    def _answer(self, call: Any) -> Any:
        hidden = call["collectionId"] == "for-team-b" and "team-b" not in call["principal"]["groups"]
        if hidden or call["collectionId"] not in ("c-1", "for-team-b"):
            error = {"message": "There is no such collection.", "code": "collection_not_found"}
            return {"status": 404, "error": error}
        if (call.get("filter") or {}).get("key") == "no field":
            error = {
                "message": "filter.key must be a field's name.",
                "code": "invalid_request",
                "field": "filter.key",
            }
            return {"status": 400, "error": error}
        return {"status": 200, "body": {"hits": self.hits[: call["topK"]]}}
