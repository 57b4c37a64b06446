"""The audit queue: each event of the bus becomes a row of the audit table, once."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from lisa import aws
from lisa.audit.schema import AuditRecord
from lisa.audit.store import AuditStore
from lisa.observability import logger, traced
from lisa.settings import Settings

settings = Settings.from_environment()
store = AuditStore(settings.audit_table, aws.dynamodb(), retention_days=settings.audit_retention_days)
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False, logger=logger)


def add(record: SQSRecord) -> None:
    event = AuditRecord.model_validate(record.json_body["detail"])
    if not store.add(event):
        logger.info("recorded before", extra={"auditEventId": event.id})


@traced
def handler(event: dict[str, Any], context: Any) -> Any:
    return process_partial_response(event, record_handler=add, processor=processor, context=context)
