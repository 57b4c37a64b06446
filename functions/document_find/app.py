"""A pipeline's folder is looked through, as its schedule says or when the pipeline is made."""

from dataclasses import asdict
from typing import Any

from lisa.errors import NotFound
from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.settings import Settings

find = wiring.finder(Settings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        found = asdict(find(event["pipeline"]))
    except NotFound:
        found = {"gone": True}  # its schedule goes as well
    logger.info("looked through a folder", extra={"pipeline": event["pipeline"], **found})
    return found
