"""Structured log lines, metrics in the log (EMF) and X-Ray segments: Powertools' objects, set up once."""

import os
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger, Metrics

Handler = Callable[[dict[str, Any], Any], Any]

logger = Logger(service=os.environ.get("POWERTOOLS_SERVICE_NAME", "lisa"), log_uncaught_exceptions=False)
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LISA"))


def traced(handler: Handler) -> Handler:
    """A handler whose calls are X-Ray segments, where there is somebody to take them.

    X-Ray's package is a quarter of a function's cold start, so it is imported only then: in Lambda, and unless
    POWERTOOLS_TRACE_DISABLED says that there is no X-Ray daemon (one machine).
    """
    disabled = os.environ.get("POWERTOOLS_TRACE_DISABLED", "").lower() in ("1", "true")
    if disabled or "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return handler
    from aws_lambda_powertools import Tracer

    with_segment: Handler = Tracer(service=logger.service).capture_lambda_handler(
        handler, capture_response=False
    )
    return with_segment


__all__ = ["logger", "metrics", "traced"]
