"""The work queue: S3's events and our own requests go to the workflows, as many at once as this function runs."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.rag.ingestion.dispatch import Message
from lisa.settings import Settings

dispatch = wiring.dispatcher(Settings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    failed = dispatch(Message(record["messageId"], record["body"]) for record in event["Records"])
    logger.info("dispatched", extra={"records": len(event["Records"]), "failed": len(failed)})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
