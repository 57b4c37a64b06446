"""Where an external model may lie: the addresses that the operator allows."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from lisa.errors import InvalidRequest

_FIELD = "modelUrl"


def check_provider_url(url: str, allowed_hosts: Iterable[str]) -> None:
    """Raises InvalidRequest unless the gateway may be sent to `url`.

    `allowed_hosts` holds names and addresses; `*.example.com` stands for every name below example.com, `*` for every
    name (but for no address). Link-local addresses, where clouds keep credentials, are never allowed.
    """
    if not url.isascii() or not url.isprintable() or any(ch in url for ch in ' \\"<>^`{|}'):
        raise InvalidRequest("modelUrl must be a plain http or https address.", field=_FIELD)
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest("modelUrl is not an address: check its host and port.", field=_FIELD) from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidRequest("modelUrl must begin with http:// or https:// and a host.", field=_FIELD)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidRequest(
            "modelUrl may hold neither a user, nor a query, nor a fragment: give the key as apiKey.",
            field=_FIELD,
        )
    if not _allowed(host.lower(), [name.strip().lower() for name in allowed_hosts if name.strip()]):
        raise InvalidRequest(
            f"modelUrl points to {host}, which this deployment does not allow: "
            "its operator can add it to the parameter AllowedProviderHosts.",
            field=_FIELD,
        )


def _allowed(host: str, names: list[str]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001 and 2130706433 are addresses to a resolver, though no address is written so.
        if host.rsplit(".", 1)[-1].removeprefix("0x").isdigit() or host.startswith("0x"):
            return False
        return host in names or any(
            name == "*" or (name.startswith("*.") and host.endswith(name[1:])) for name in names
        )
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:169.254.169.254 is the same place
    if any(
        part.is_link_local or part.is_multicast or part.is_unspecified
        for part in (address, mapped or address)
    ):
        return False
    return str(address) in names
