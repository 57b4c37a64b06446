"""Listener rules, evaluated as an Application Load Balancer does."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Request:
    """What conditions look at."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Forward:
    """Weighted target groups, by ARN."""

    groups: tuple[tuple[str, int], ...]

    def choose(self) -> str | None:
        """One of the groups, at random by weight; None when every weight is zero."""
        if len(self.groups) == 1:
            return self.groups[0][0]
        weights = [weight for _, weight in self.groups]
        if not any(weights):
            return None
        return random.choices([arn for arn, _ in self.groups], weights)[0]  # noqa: S311 - balancing, not security


@dataclass(frozen=True, slots=True)
class FixedResponse:
    status: int
    content_type: str
    body: str


@dataclass(frozen=True, slots=True)
class Redirect:
    status: int
    protocol: str
    host: str
    port: str
    path: str
    query: str

    def location(self, request: Request, protocol: str, port: int) -> str:
        values = {
            "#{protocol}": protocol,
            "#{host}": request.host.partition(":")[0],
            "#{port}": str(port),
            "#{path}": request.path.lstrip("/"),
            "#{query}": request.query,
        }

        def filled(text: str) -> str:
            for name, value in values.items():
                text = text.replace(name, value)
            return text

        query = filled(self.query)
        host, scheme = filled(self.host), filled(self.protocol).lower()
        return f"{scheme}://{host}:{filled(self.port)}{filled(self.path)}{'?' + query if query else ''}"


Action = Forward | FixedResponse | Redirect


@dataclass(frozen=True, slots=True)
class Condition:
    field: str
    values: tuple[str, ...]
    header: str = ""

    def matches(self, request: Request) -> bool:
        match self.field:
            case "host-header":
                host = (
                    request.host.rpartition(":")[0]
                    if request.host.rpartition(":")[2].isdigit()
                    else request.host
                )
                return any(_pattern(value, True).fullmatch(host) for value in self.values)
            case "path-pattern":
                return any(_pattern(value, False).fullmatch(request.path) for value in self.values)
            case "http-request-method":
                return request.method in self.values
            case "http-header":
                found = request.headers.get(self.header)
                return found is not None and any(
                    _pattern(value, True).fullmatch(found) for value in self.values
                )
            case "query-string":
                return any(_query_matches(value, request.query) for value in self.values)
        # A condition we do not know must not let through what it was meant to keep out.
        return False


@dataclass(frozen=True, slots=True)
class Rule:
    priority: int
    conditions: tuple[Condition, ...]
    action: Action


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of a load balancer."""

    address: str
    port: int
    rules: tuple[Rule, ...]
    """By priority."""
    default: Action

    def action(self, request: Request) -> Action:
        for rule in self.rules:
            if all(condition.matches(request) for condition in rule.conditions):
                return rule.action
        return self.default


@lru_cache(maxsize=1024)
def _pattern(value: str, ignore_case: bool) -> re.Pattern[str]:
    expression = re.escape(value).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(expression, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


def _query_matches(value: str, query: str) -> bool:
    key, equals, wanted = value.partition("=")
    pairs = parse_qsl(query, keep_blank_values=True)
    if not equals:
        return any(_pattern(key, True).fullmatch(text) for _, text in pairs)
    return any(name.lower() == key.lower() and _pattern(wanted, True).fullmatch(text) for name, text in pairs)


def parse_listener(address: str, listener: Mapping[str, Any]) -> Listener:
    """A listener from what the emulator's internal route answers."""
    rules = sorted(
        (
            Rule(
                int(rule["priority"]),
                tuple(_condition(condition) for condition in rule["conditions"]),
                _action(rule["actions"]),
            )
            for rule in listener["rules"]
        ),
        key=lambda rule: rule.priority,
    )
    return Listener(address, int(listener["port"]), tuple(rules), _action(listener["defaultActions"]))


def _condition(condition: Mapping[str, Any]) -> Condition:
    header = condition.get("HttpHeaderConfig") or {}
    values = tuple(header.get("Values") or condition.get("Values") or ())
    return Condition(condition["Field"], values, header.get("HttpHeaderName", "").lower())


def _action(actions: list[Mapping[str, Any]]) -> Action:
    """The last action is the one that answers; those before it authenticate, which nothing here uses."""
    if not actions:
        return FixedResponse(503, "text/plain", "This listener has no action.")
    action = max(enumerate(actions), key=lambda each: (each[1].get("Order", 0), each[0]))[1]
    match action.get("Type"):
        case "forward":
            groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or [
                {"TargetGroupArn": action.get("TargetGroupArn", "")}
            ]
            return Forward(tuple((group["TargetGroupArn"], int(group.get("Weight", 1))) for group in groups))
        case "fixed-response":
            fixed = action.get("FixedResponseConfig") or {}
            return FixedResponse(
                int(fixed.get("StatusCode", 200)),
                fixed.get("ContentType", "text/plain"),
                fixed.get("MessageBody", ""),
            )
        case "redirect":
            redirect = action.get("RedirectConfig") or {}
            return Redirect(
                int(str(redirect.get("StatusCode", "302")).removeprefix("HTTP_")),
                redirect.get("Protocol", "#{protocol}"),
                redirect.get("Host", "#{host}"),
                str(redirect.get("Port", "#{port}")),
                redirect.get("Path", "/#{path}"),
                redirect.get("Query", "#{query}"),
            )
    return FixedResponse(501, "text/plain", f"The action {action.get('Type')} does not exist on one machine.")
