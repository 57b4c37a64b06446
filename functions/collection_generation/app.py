"""The states of a collection's re-index that need its store: making an index of one generation, and dropping it."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.rag.vectors.connect import close_stores
from lisa.settings import Settings

settings = Settings.from_environment()
indices = wiring.indices(settings)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    where = (event["repositoryId"], event["collectionId"], event["generation"])
    try:
        outcome = indices.create(*where) if event["step"] == "create" else indices.drop(*where)
    finally:
        # On AWS an open connection keeps the database from sleeping; one machine's does not sleep.
        if settings.stage != "local":
            close_stores()
    logger.info(event["step"], extra=outcome)
    return outcome
