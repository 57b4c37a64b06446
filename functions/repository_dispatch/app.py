"""The repositories table's stream: new wishes and attempts start their workflow, changes of status become events."""

import time
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from lisa import aws
from lisa.events import EventPublisher
from lisa.observability import logger, traced
from lisa.rag.repositories.dispatch import Dispatcher
from lisa.rag.repositories.executions import Executions
from lisa.rag.repositories.store import RepositoryStore
from lisa.settings import Settings

settings = Settings.from_environment()
dispatcher = Dispatcher(
    RepositoryStore(settings.repositories_table, aws.dynamodb()),
    Executions(settings, aws.step_functions()),
    EventPublisher(settings.event_bus, aws.events()),
)
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


def dispatch(record: DynamoDBRecord) -> None:
    change = record.dynamodb
    if change is not None:
        at = change.approximate_creation_date_time or time.time()
        dispatcher(dict(change.old_image or {}), dict(change.new_image or {}), at=float(at))


@traced
def handler(event: dict[str, Any], context: Any) -> Any:
    logger.info("stream", extra={"records": len(event["Records"])})
    return process_partial_response(event, record_handler=dispatch, processor=processor, context=context)
