"""Counters of the embedding server in Prometheus' text format."""

from __future__ import annotations

from collections import Counter

_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Used on the event loop only."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[int] = Counter()
        self._texts = self._tokens = 0
        self._seconds = 0.0
        self._buckets = [0] * len(_BUCKETS_S)

    def finished(self, *, status: int, seconds: float, texts: int, tokens: int) -> None:
        self._requests[status] += 1
        self._texts += texts
        self._tokens += tokens
        self._seconds += seconds
        for index, bound in enumerate(_BUCKETS_S):
            self._buckets[index] += seconds <= bound

    def text(self) -> str:
        total = sum(self._requests.values())
        lines = ["# TYPE lisa_embedding_requests_total counter"]
        lines += [
            f'lisa_embedding_requests_total{{status="{s}"}} {n}' for s, n in sorted(self._requests.items())
        ]
        lines += ["# TYPE lisa_embedding_texts_total counter", f"lisa_embedding_texts_total {self._texts}"]
        lines += ["# TYPE lisa_embedding_tokens_total counter", f"lisa_embedding_tokens_total {self._tokens}"]
        lines += [
            "# TYPE lisa_embedding_requests_in_flight gauge",
            f"lisa_embedding_requests_in_flight {self.in_flight}",
        ]
        name = "lisa_embedding_request_duration_seconds"
        lines.append(f"# TYPE {name} histogram")
        lines += [
            f'{name}_bucket{{le="{bound}"}} {count}'
            for bound, count in zip(_BUCKETS_S, self._buckets, strict=True)
        ]
        lines += [
            f'{name}_bucket{{le="+Inf"}} {total}',
            f"{name}_sum {self._seconds:.6f}",
            f"{name}_count {total}",
        ]
        return "\n".join(lines) + "\n"
