"""What was deployed: the root stack's outputs, in a file that `lisa up` writes."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("lisa.door.deployment")


@dataclass(frozen=True, slots=True)
class Deployment:
    api_id: str
    api_stage: str
    user_pool_id: str
    load_balancer: str
    gateway_port: int


class DeploymentFile:
    """Rereads the file when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._deployment: Deployment | None = None

    def current(self) -> Deployment | None:
        """What is deployed, or None before the first deployment; costs one `stat`."""
        try:
            status = self._path.stat()
        except OSError:
            self._stamp = self._deployment = None
            return None
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if stamp != self._stamp:
            self._deployment = self._read()
            self._stamp = stamp
        return self._deployment

    def _read(self) -> Deployment | None:
        try:
            outputs = json.loads(self._path.read_text())
            return Deployment(
                api_id=outputs["ApiId"],
                api_stage=outputs.get("ApiStage") or "lisa",
                user_pool_id=outputs.get("UserPoolId") or "",
                load_balancer=outputs["AlbDnsName"],
                gateway_port=int(outputs["GatewayListenerPort"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.error("%s cannot be understood: %r", self._path, error)
            return None
