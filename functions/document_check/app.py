"""The state "Check documents": what is asked for, whether it is still to be done, and what it needs."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.rag.ingestion.items import Work
from lisa.settings import Settings

check = wiring.check(Settings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    state = check(Work.model_validate(event)).as_state()
    logger.info("checked", extra={"requests": len(event["requests"]), "open": state["open"]})
    return state
