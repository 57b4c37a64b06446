"""Tokens that `/oauth2/token` refreshes keep the user's groups, as Cognito's do.

As shipped the groups are lost there; the API's refresh (`InitiateAuth`) keeps them, and the emulator has a
path from the one to the other for refresh tokens that the API issued. Every refresh takes it here.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from ministack.core.concurrency import run_reentrant
from ministack.services import cognito

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace


def install(_: Context) -> None:
    handle = original(cognito, "handle_oauth2_token")
    authenticate = original(cognito, "_authenticate_client")
    refresh = original(cognito, "_oauth2_refresh_api_issued_token")
    find_client = original(cognito, "_find_pool_by_client_id")
    registry = original(cognito, "_refresh_tokens")

    def refreshed(headers: dict[str, str], form: dict[str, str]) -> Any:
        token = form.get("refresh_token", "")
        client_id, secret = authenticate(headers or {}, form)
        issued_to = registry.get(token)
        client_id = client_id or (issued_to or {}).get("client_id", "")
        client = find_client(client_id)[2]
        if client is None or (issued_to and issued_to["client_id"] != client_id):
            return 400, {"Content-Type": "application/json"}, json.dumps({"error": "invalid_grant"}).encode()
        return refresh(token, client_id, secret)

    async def handle_oauth2_token(
        method: str, path: str, headers: dict[str, str], body: bytes, query: Any
    ) -> Any:
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace"), True).items()}
        if form.get("grant_type") != "refresh_token":
            return await handle(method, path, headers, body, query)
        return await run_reentrant(refreshed, headers, form, thread_name="lisa-cognito-refresh")

    replace(cognito, "handle_oauth2_token", handle_oauth2_token)


BRIDGE = Bridge("groups-on-refresh", "refreshed tokens keep the user's groups", install)
