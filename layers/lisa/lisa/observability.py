"""Powertools' three objects, set up once: structured log lines, X-Ray segments, metrics in the log (EMF)."""

import os

from aws_lambda_powertools import Logger, Metrics, Tracer

logger = Logger(service=os.environ.get("POWERTOOLS_SERVICE_NAME", "lisa"), log_uncaught_exceptions=False)
# Without the X-Ray daemon of a Lambda there is nobody to send segments to.
tracer = Tracer(disabled=None if os.environ.get("_X_AMZN_TRACE_ID") else True)
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "LISA"))

__all__ = ["logger", "metrics", "tracer"]
