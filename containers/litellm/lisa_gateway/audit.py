"""Sign-ins and changes at the gateway: told to the audit log by a thread, so that no request waits for it."""

import contextlib
import ipaddress
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from lisa.audit.calls import object_of
from lisa.audit.event import AuditEvent, Origin, new_id, outcome_of
from lisa.audit.publisher import NOT_DELIVERED, AuditPublisher
from lisa.audit.signins import SignIns
from lisa.errors import LisaError
from lisa.identity import Principal

from lisa_gateway.http.exchange import Exchange

FLUSH_SECONDS = 0.5
MAX_WAITING = 10_000

log = logging.getLogger(__name__)


def keep(detail: str, reason: str) -> None:
    """What the bus does not take stays in the log, whole."""
    log.error(NOT_DELIVERED, extra={"auditEvent": detail, "reason": reason})


class Audit:
    """`accepted`, `refused` and `changed` belong to the event loop and wait for nothing."""

    def __init__(self, open_publisher: Callable[[], AuditPublisher]) -> None:
        self._open = open_publisher
        self._waiting: deque[AuditEvent] = deque()
        self._sign_ins = SignIns(self._add)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def accepted(self, token: str, principal: Principal, exchange: Exchange) -> None:
        self._sign_ins.accepted(token, principal, _origin(exchange))

    def refused(self, error: LisaError, exchange: Exchange) -> None:
        self._sign_ins.refused(error, _origin(exchange))

    def changed(
        self, exchange: Exchange, principal: Principal, *, status: int, error: str = "", made: str = ""
    ) -> None:
        """Somebody has changed something, or tried to; `made` is the id of what was made."""
        kind, object_id = object_of(exchange.endpoint, exchange.path)
        self._add(
            AuditEvent(
                new_id(),
                time.time(),
                f"{exchange.method} {exchange.endpoint}",
                outcome_of(status),
                _origin(exchange),
                principal,
                object_type=kind,
                object_id=made or object_id,
                status=status,
                error=error,
            )
        )

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _add(self, event: AuditEvent) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(event)
        else:  # sign-ins come faster than the bus takes them
            keep(json.dumps(event.detail()), "too many waiting")

    def _run(self) -> None:
        publisher = self._open()
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush(publisher)
        self._flush(publisher)

    def _flush(self, publisher: AuditPublisher) -> None:
        # One by one, so that none is lost that comes while they are taken out.
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if waiting:
            publisher.publish(waiting)


def _origin(exchange: Exchange) -> Origin:
    headers = exchange.headers
    return Origin(
        door="gateway",
        request_id=exchange.request_id.decode(),
        source_ip=source_ip(headers.get(b"x-forwarded-for", b"").decode("latin-1")),
        user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
    )


def source_ip(forwarded_for: str) -> str:
    """The client's address, as the nearest proxy that is not ours has it.

    Each proxy appends whom it was called by: the load balancer the client, or API Gateway's address in the VPC after
    the client's. What stands further left a client may have made up.
    """
    found = ""
    for part in reversed(forwarded_for.split(",")[-3:]):
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(part.strip())
            found = found or str(address)
            if not address.is_private:
                return str(address)
    return found
