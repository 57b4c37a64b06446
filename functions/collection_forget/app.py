"""State `Forget documents` of a collection that is deleted: rows of its documents, and its files in the drop folder."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.documents import wiring as documents
from lisa.rag.ingestion import wiring
from lisa.rag.repositories.workflow import SUPERSEDED, Wish, current_collection
from lisa.settings import Settings

settings = Settings.from_environment()
repositories, forget = documents.repositories(settings), wiring.forgetter(settings)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    wish, outcome = Wish.of(event), SUPERSEDED
    if current_collection(repositories, wish) is not None:
        done = forget.forget_collection(wish.repository_id, wish.collection_id)
        outcome = {"outcome": "gone" if done else "more"}
    logger.info("forgot documents", extra={"collection": wish.collection_id, **outcome})
    return outcome
