"""Each minute, and when an execution ends badly: what was lost is asked for again, or settled with a reason."""

from typing import Any

from lisa.observability import logger, traced
from lisa.rag.ingestion import wiring
from lisa.settings import Settings

reconcile = wiring.reconciler(Settings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    ended = event.get("detail-type") == "Step Functions Execution Status Change"
    report = reconcile.ended_badly(event["detail"]) if ended else reconcile()
    logger.info("reconciled", extra=report.as_dict())
    return report.as_dict()
