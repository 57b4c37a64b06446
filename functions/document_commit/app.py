"""The state "Commit documents": what became of them is written, told, and what a long execution held is given back."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.rag.ingestion.items import Work
from lisa.settings import Settings

settings = Settings.from_environment()
commit, area, slots = wiring.commit(settings), wiring.area(settings), wiring.slots(settings)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    work = Work.model_validate(event)
    long = commit(work, event.get("failure", ""))
    area.clear(work.work, len(work.batches))
    if work.long:
        slots.give_back(work.work)
    logger.info("committed", extra={"outcomes": [item.outcome for item in work.items], "long": len(long)})
    return {"long": long}
