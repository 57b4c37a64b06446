"""The states of a collection's re-index that need its rows: feeding documents, looking, flipping, settling, ending."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.settings import Settings

reindexing = wiring.reindexing(Settings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    where = (event["repositoryId"], event["collectionId"], event["generation"])
    match event["step"]:
        case "feed":
            outcome = reindexing.feed(*where, event["after"])
        case "look":
            outcome = reindexing.look(*where, event["seen"])
        case "flip":
            outcome = reindexing.flip(*where)
        case "settle":
            outcome = reindexing.settle(*where, event["after"])
        case "finish":
            outcome = reindexing.finish(*where)
        case "abandon":
            outcome = reindexing.abandon(*where, event["reason"])
        case step:
            raise ValueError(f"{step!r} is no step")
    logger.info(event["step"], extra={"outcome": outcome["outcome"]})
    return outcome
