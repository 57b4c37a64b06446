"""What callers are told of their limits: OpenAI's headers, and why a request is refused."""

import time

from lisa.errors import RateLimited
from lisa.limits.prices import to_dollars

from lisa_gateway.http.exchange import Exchange
from lisa_gateway.meters import Meter

REQUESTS = "requestsPerMinute"


def headers(meters: tuple[Meter, ...], now: int) -> bytes:
    """Of the limit on requests, and of the one on tokens, of which least is left."""
    requests = tokens = None
    for meter in meters:
        if meter.max_requests and (requests is None or meter.left_requests < requests.left_requests):
            requests = meter
        if meter.max_tokens and (
            tokens is None or meter.max_tokens - meter.tokens < tokens.max_tokens - tokens.tokens
        ):
            tokens = meter
    lines = b""
    if requests is not None:
        lines = (
            b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
            b"x-ratelimit-reset-requests: %b\r\n"
        ) % (requests.max_requests, max(0, requests.left_requests), duration(requests.end - now))
    if tokens is not None:
        lines += (
            b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %b\r\n"
        ) % (tokens.max_tokens, max(0, tokens.max_tokens - tokens.tokens), duration(tokens.end - now))
    return lines


def duration(seconds: int) -> bytes:
    """As OpenAI writes it: `1s`, `6m0s`, `26h0m0s`."""
    if seconds < 60:
        return b"%ds" % seconds
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return b"%dm%ds" % (minutes, rest)
    return b"%dh%dm%ds" % (*divmod(minutes, 60), rest)


def refusal(exchange: Exchange, meter: Meter, meters: tuple[Meter, ...], name: str, now: int) -> RateLimited:
    """Which limit, of whom, and when it is free again. Puts the headers on the answer."""
    exchange.extra_headers += headers(meters, now)
    seconds = max(1, meter.end - now)
    allowed = meter.limit.amounts[name]
    if name.startswith("cost"):
        what = f"${to_dollars(allowed)}"
    else:
        what = f"{allowed:,} {'requests' if name == REQUESTS else 'tokens'}"
    who = "this API token" if meter.kind == "token" else f"the {meter.kind} `{meter.name[:200]}`"
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(meter.end))
    message = (
        f"The limit {name} of {who} is used up: {what} a {meter.window}. "
        f"It is free again in {seconds} s, at {until}."
    )
    if meter.is_budget:
        # Before the day or month is over it is of no use to try again: OpenAI's clients are told not to.
        exchange.extra_headers += b"x-should-retry: false\r\n"
        return RateLimited(message, code="insufficient_quota", retry_after=seconds)
    return RateLimited(message, retry_after=seconds)
