"""The state "Parse documents": files become chunks, packed into batches for the embedding model."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.rag.ingestion.items import Work
from lisa.settings import Settings

parse = wiring.parse(Settings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    state = parse(Work.model_validate(event)).as_state()
    logger.info("parsed", extra={"batches": len(state["batches"]), "left": state["left"]})
    return state
