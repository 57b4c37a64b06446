"""Powertools' three objects, set up once: structured log lines, X-Ray segments, metrics in the log (EMF)."""

import os

from aws_lambda_powertools import Logger, Metrics, Tracer

logger = Logger(service=os.environ.get("POWERTOOLS_SERVICE_NAME", "lisa"), log_uncaught_exceptions=False)
# Does nothing outside Lambda, and where POWERTOOLS_TRACE_DISABLED says that there is no X-Ray daemon (one machine).
tracer = Tracer(service=logger.service)
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LISA"))

__all__ = ["logger", "metrics", "tracer"]
