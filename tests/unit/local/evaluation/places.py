"""A dataset and a product to measure, written by hand."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from lisa_local.cloud import Answer

BUCKET = "documents"
DOCUMENTS = [
    {"id": "1", "title": "Wings", "text": "lift of swept wings"},
    {"id": "2/b", "title": "", "text": "heat <b>transfer</b> in slabs & plates"},
    {"id": "3", "title": "Panels", "text": "buckling of panels"},
    {"id": "4", "title": "", "text": " "},
]
QUERIES = [
    {"id": "q1", "text": "swept wings"},
    {"id": "q2", "text": "panels"},
    {"id": "q9", "text": "nobody judged"},
]


def write_dataset(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in DOCUMENTS))
    (folder / "queries.dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUERIES))
    (folder / "qrels.dev.tsv").write_text("query-id\tdoc-id\trelevance\nq1\t1\t1\nq2\t3\t1\nq2\t2/b\t0\n")
    return folder


class Cloud:
    """Its drop folder is searched as soon as something is dropped; `found` are file names that any search answers."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, Any]] = {}
        self.found = ["1.html", "1.html", "3.html"]
        self.asked: list[dict[str, list[str]]] = []
        self.sleeping = 0

    def output(self, name: str) -> str:
        return {"DocumentsBucket": BUCKET}[name]

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name="us-east-1")

    def call(
        self, method: str, path: str, *, token: str | None = None, body: Any = None, timeout: float = 30
    ) -> Answer:
        parts = urlsplit(path)
        match (method, parts.path.split("/")[3:]):
            case ("GET", ["docs"]):
                return Answer(200, {"repositoryId": "docs", "type": "pgvector"})
            case ("GET", ["docs", "collection", name]):
                known = self.collections.get(name)
                return Answer(200, known) if known else Answer(404, {"message": "none"})
            case ("POST", ["docs", "collection"]):
                made = {"collectionId": "c-1", "name": body["name"], "embeddingModel": "mini"}
                self.collections[body["name"]] = made
                return Answer(201, made)
            case ("GET", ["docs", "document"]):
                listed = self.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
                return Answer(
                    200, {"documents": [{"source": f"s3://{BUCKET}/{each['Key']}"} for each in listed]}
                )
            case ("GET", ["docs", "similaritySearch"]):
                return self._search(parse_qs(parts.query))
        if path == "/v1/embeddings":
            vectors = [[float("wing" in text), float("panel" in text), 0.1] for text in body["input"]]
            return Answer(200, {"data": [{"index": n, "embedding": v} for n, v in enumerate(vectors)]})
        raise AssertionError((method, path))

    def _search(self, query: dict[str, list[str]]) -> Answer:
        if self.sleeping:
            self.sleeping -= 1
            return Answer(503, {"message": "waking"})
        self.asked.append(query)
        return Answer(200, {"docs": [{"Document": {"metadata": {"name": name}}} for name in self.found]})
