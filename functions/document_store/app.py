"""The states "Store documents" and "Remove documents": chunks go into the store, or out of it, whole."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.rag.ingestion.items import Work
from lisa.rag.vectors.connect import close_stores
from lisa.settings import Settings

settings = Settings.from_environment()
store = wiring.store(settings)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        work = store(Work.model_validate(event), event.get("embedded") or ())
    finally:
        # On AWS an open connection keeps the database from sleeping; one machine's does not sleep.
        if settings.stage != "local":
            close_stores()
    logger.info("stored", extra={"outcomes": [item.outcome for item in work.items]})
    return work.as_state()
