"""The usage queue: what gateways have counted is added to the totals, each message once."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from lisa import aws
from lisa.observability import logger, metrics, traced
from lisa.settings import Settings
from lisa.usage.measures import publish
from lisa.usage.message import Message
from lisa.usage.recorder import UsageRecorder

settings = Settings.from_environment()
recorder = UsageRecorder(settings.usage_table, aws.dynamodb(), retention_days=settings.usage_retention_days)
# When a whole batch fails, its items come back one by one too: an error of the function would lose which.
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False, logger=logger)


def add(record: SQSRecord) -> None:
    message = Message.model_validate_json(record.body)
    if recorder.record(message):
        publish(message, namespace=metrics.namespace or "LISA", deployment=settings.deployment)
    else:
        logger.info("recorded before", extra={"usage_message": message.id})


@traced
def handler(event: dict[str, Any], context: Any) -> Any:
    return process_partial_response(event, record_handler=add, processor=processor, context=context)
