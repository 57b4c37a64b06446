"""Counters and histograms, in Prometheus' text format."""

import os
import resource
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Histogram:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class Series:
    """What is known of one endpoint and model."""

    __slots__ = ("completion", "first_byte", "prompt", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.seconds = Histogram()
        self.first_byte = Histogram()
        self.prompt = 0
        self.completion = 0


class Metrics:
    """What has happened so far. Only models of the catalogue become labels, so that these are bounded."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str], Series] = {}
        self.retries = 0
        self.in_flight = 0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._started = time.time()

    def record(
        self,
        endpoint: str,
        model: str,
        status: int,
        seconds: float,
        first_byte: float,
        usage: tuple[int, int] | None,
    ) -> None:
        series = self.series.get((endpoint, model))
        if series is None:
            series = self.series[endpoint, model] = Series()
        series.statuses[status] = series.statuses.get(status, 0) + 1
        series.seconds.observe(seconds)
        series.first_byte.observe(first_byte)
        if usage is not None:
            series.prompt += usage[0]
            series.completion += usage[1]

    def render(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        ordered = sorted(self.series.items())
        yield from _header("lisa_gateway_requests_total", "counter", "Requests answered.")
        for (endpoint, model), series in ordered:
            for status, count in sorted(series.statuses.items()):
                labels = _labels(endpoint=endpoint, model=model, status=str(status))
                yield f"lisa_gateway_requests_total{labels} {count}"
        yield from _histograms(
            "lisa_gateway_request_seconds",
            "Time to the end of the answer.",
            [(key, series.seconds) for key, series in ordered],
        )
        yield from _histograms(
            "lisa_gateway_first_byte_seconds",
            "Time to its first byte.",
            [(key, series.first_byte) for key, series in ordered],
        )
        yield from _header("lisa_gateway_tokens_total", "counter", "Tokens, as the models counted them.")
        totals: dict[str, list[int]] = {}
        for (_, model), series in ordered:
            if series.prompt or series.completion:
                sums = totals.setdefault(model, [0, 0])
                sums[0] += series.prompt
                sums[1] += series.completion
        for model, sums in totals.items():
            for kind, count in zip(("prompt", "completion"), sums, strict=True):
                yield f"lisa_gateway_tokens_total{_labels(model=model, kind=kind)} {count}"
        yield from _value("lisa_gateway_retries_total", "counter", "Calls made a second time.", self.retries)
        yield from _value("lisa_gateway_requests_in_flight", "gauge", "Requests under way.", self.in_flight)
        for name, (text, read) in sorted(self.gauges.items()):
            yield from _value(name, "gauge", text, read())
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield from _value(
            "process_cpu_seconds_total", "counter", "CPU used.", usage.ru_utime + usage.ru_stime
        )
        yield from _value("process_start_time_seconds", "gauge", "Start of the process.", self._started)
        yield from _value("process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes())


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE_SIZE


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _value(name: str, kind: str, text: str, value: float) -> Iterator[str]:
    yield from _header(name, kind, text)
    yield f"{name} {value:.10g}"


def _labels(**labels: str) -> str:
    pairs = (f'{name}="{_escape(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _histograms(name: str, text: str, histograms: list[tuple[tuple[str, str], Histogram]]) -> Iterator[str]:
    yield from _header(name, "histogram", text)
    for (endpoint, model), histogram in histograms:
        total = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), histogram.counts, strict=True):
            total += count
            yield f"{name}_bucket{_labels(endpoint=endpoint, model=model, le=bound)} {total}"
        labels = _labels(endpoint=endpoint, model=model)
        yield f"{name}_sum{labels} {histogram.total:.9g}"
        yield f"{name}_count{labels} {total}"
