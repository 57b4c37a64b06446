"""The state "Embed batch": the vectors of some chunks, from the embedding model behind the gateway."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.rag.ingestion.embed import Progress
from lisa.rag.ingestion.items import Batch
from lisa.settings import Settings

embed = wiring.embed(Settings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    progress = Progress(event["jobId"], event["batches"]) if event["long"] else None
    answer = embed(event["work"], Batch.model_validate(event["batch"]), progress)
    logger.info("embedded", extra={"texts": event["batch"]["texts"], **answer})
    return answer
