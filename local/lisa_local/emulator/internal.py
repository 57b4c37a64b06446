"""Routes for the other components, on a Unix socket in the state folder, so for its owner alone."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from ministack.services import alb

from lisa_local.component import ComponentError, Settings
from lisa_local.emulator.bridges.seams import original

_STORES = ("_lbs", "_listeners", "_rules", "_tgs", "_targets", "_tg_attrs", "_lb_attrs")


async def start(settings: Settings) -> web.AppRunner:
    for name in _STORES:
        original(alb, name)
    application = web.Application()
    application.add_routes([web.get("/_lisa/balancers", _balancers)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    path = settings.emulator_socket
    path.unlink(missing_ok=True)
    try:
        await web.UnixSite(runner, str(path)).start()
    except OSError as error:
        raise ComponentError(f"the socket {path} cannot be opened: {error.strerror or error}.") from None
    return runner


async def _balancers(_: web.Request) -> web.Response:
    return web.json_response(balancers())


def balancers() -> dict[str, Any]:
    """Load balancers as the emulator holds them, in one answer: the door reads it twice a second."""
    return {
        "loadBalancers": [
            {
                "arn": lb["LoadBalancerArn"],
                "name": lb["LoadBalancerName"],
                "address": lb["DNSName"],
                "attributes": _attributes(alb._lb_attrs, lb["LoadBalancerArn"]),
                "listeners": [
                    _listener(listener)
                    for listener in _of(alb._listeners, "LoadBalancerArn", lb["LoadBalancerArn"])
                ],
            }
            for lb in list(alb._lbs._data.values())
        ],
        "targetGroups": {
            group["TargetGroupArn"]: {
                "name": group["TargetGroupName"],
                "port": group["Port"],
                "healthCheck": {
                    "enabled": group["HealthCheckEnabled"],
                    "path": group["HealthCheckPath"],
                    "port": group["HealthCheckPort"],
                    "interval": group["HealthCheckIntervalSeconds"],
                    "timeout": group["HealthCheckTimeoutSeconds"],
                    "healthy": group["HealthyThresholdCount"],
                    "unhealthy": group["UnhealthyThresholdCount"],
                    "codes": group["Matcher"]["HttpCode"],
                },
                "attributes": _attributes(alb._tg_attrs, group["TargetGroupArn"]),
                "targets": [
                    {"id": target["Id"], "port": target.get("Port") or group["Port"]}
                    for key, targets in list(alb._targets._data.items())
                    if key[-1] == group["TargetGroupArn"]
                    for target in targets
                ],
            }
            for group in list(alb._tgs._data.values())
        },
    }


def _listener(listener: dict[str, Any]) -> dict[str, Any]:
    arn = listener["ListenerArn"]
    return {
        "arn": arn,
        "port": listener["Port"],
        "protocol": listener["Protocol"],
        "defaultActions": listener["DefaultActions"],
        "rules": [
            {
                "priority": rule["Priority"],
                "conditions": rule["Conditions"],
                "actions": rule["Actions"],
            }
            for rule in _of(alb._rules, "ListenerArn", arn)
            if not rule.get("IsDefault")
        ],
    }


def _of(store: Any, key: str, value: str) -> list[dict[str, Any]]:
    return [record for record in list(store._data.values()) if record.get(key) == value]


def _attributes(store: Any, arn: str) -> dict[str, str]:
    return {
        pair["Key"]: pair["Value"]
        for key, pairs in list(store._data.items())
        if key[-1] == arn
        for pair in pairs
    }
