"""Which part of the system a path of the front door belongs to."""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import unquote


class Place(StrEnum):
    GATEWAY = "gateway"
    API = "api"
    SIGN_IN = "sign-in"
    START = "start"
    UNKNOWN_GATEWAY = "unknown path of the gateway"
    UNKNOWN_API = "unknown path of the management API"
    UNKNOWN = "unknown page"


_SIGN_IN = re.compile(
    r"/oauth2/[^/]+|/login|/logout|/[a-z]{2}(?:-[a-z]+)+-\d+_[0-9A-Za-z]+/\.well-known/(?:jwks\.json|openid-configuration)"
)


def place_of(path: str) -> Place:
    """The place of a path as it stands in the request line, before the query.

    Paths are passed on as they are, so one that could become another on the way (dot segments, encoded
    or not) belongs nowhere.
    """
    decoded = unquote(path)
    if any(segment in (".", "..") for segment in decoded.replace("\\", "/").split("/")):
        return _unknown(decoded)
    if decoded.startswith("//"):
        return Place.UNKNOWN
    if path == "/":
        return Place.START
    if _under(path, "/v1") or _under(path, "/v2/serve") or _under(path, "/health"):
        return Place.GATEWAY
    if _under(path, "/api"):
        return Place.API
    if _SIGN_IN.fullmatch(path):
        return Place.SIGN_IN
    return _unknown(decoded)


def _unknown(path: str) -> Place:
    if _under(path, "/api"):
        return Place.UNKNOWN_API
    if any(_under(path, prefix) for prefix in ("/v1", "/v2", "/health")):
        return Place.UNKNOWN_GATEWAY
    return Place.UNKNOWN


def _under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")
