"""The limits table's stream: what a gateway wrote down as a budget's warning becomes an event."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from lisa import aws
from lisa.events import EventPublisher
from lisa.limits.alerts import announce
from lisa.observability import logger, traced
from lisa.settings import Settings

settings = Settings.from_environment()
publisher = EventPublisher(settings.event_bus, aws.events())
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


def alert(record: DynamoDBRecord) -> None:
    change = record.dynamodb
    if change is not None and change.new_image:
        announce(publisher, change.new_image)


@traced
def handler(event: dict[str, Any], context: Any) -> Any:
    logger.info("stream", extra={"records": len(event["Records"])})
    return process_partial_response(event, record_handler=alert, processor=processor, context=context)
