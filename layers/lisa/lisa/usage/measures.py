"""CloudWatch metrics of what was used, in the log (EMF), by deployment and model: of models there are few."""

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from lisa.usage.message import Message


def publish(message: Message, *, namespace: str, deployment: str) -> None:
    """Says what a message holds, once it is recorded. Costs are in US dollars, times in milliseconds."""
    # A request is in one total by model of everybody's, and in several of the others.
    for entry in message.entries:
        if entry.by != "model" or entry.of is not None:
            continue
        metrics = EphemeralMetrics(namespace=namespace, service="usage")
        metrics.add_dimension(name="Deployment", value=deployment)
        metrics.add_dimension(name="Model", value=entry.value[:250] or "none")
        metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=entry.requests)
        metrics.add_metric(name="Errors", unit=MetricUnit.Count, value=entry.failed)
        metrics.add_metric(name="Refused", unit=MetricUnit.Count, value=entry.refused)
        metrics.add_metric(name="PromptTokens", unit=MetricUnit.Count, value=entry.prompt_tokens)
        metrics.add_metric(name="CompletionTokens", unit=MetricUnit.Count, value=entry.completion_tokens)
        metrics.add_metric(name="Cost", unit=MetricUnit.NoUnit, value=entry.cost / 1e6)
        for value in entry.latencies:
            metrics.add_metric(name="Latency", unit=MetricUnit.Milliseconds, value=value)
        for value in entry.first_tokens:
            metrics.add_metric(name="TimeToFirstToken", unit=MetricUnit.Milliseconds, value=value)
        metrics.flush_metrics()
