"""The gateway's configuration, from the environment."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from lisa.identity import IdentitySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See docs: each field is the environment variable of the same meaning."""

    identity: IdentitySettings
    models_table: str
    usage_queue_url: str
    limits_table: str = ""
    vector_stores_function: str = ""
    search_function: str = ""
    documents_bucket: str = ""
    max_file_bytes: int = 50 * 1024 * 1024
    service_key_secret: str = ""  # the secret's ARN; without it no service key is accepted
    event_bus: str
    host: str = "0.0.0.0"  # noqa: S104 - the container's only way in is its load balancer
    port: int = 4000
    deployment: str = "lisa"
    max_body_bytes: int = 10 * 1024 * 1024
    base_path: str = ""
    drain_seconds: int = (
        8  # how long answers under way may take after SIGTERM; less than the task's stop time-out
    )
    allowed_provider_hosts: tuple[str, ...] = ()
    # Names this process in the models table; another one for each start, so that a restarted gateway does not
    # speak for what its predecessor had loaded.
    instance_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Raises ValueError naming the variable that is missing or wrong."""
        env = os.environ if environment is None else environment
        table = env.get("LISA_MODELS_TABLE", "")
        if not table:
            raise ValueError("LISA_MODELS_TABLE is empty: set it to the name of the models table")
        queue = env.get("LISA_USAGE_QUEUE_URL", "")
        if not queue:
            raise ValueError("LISA_USAGE_QUEUE_URL is empty: set it to the URL of the usage queue")
        limits = env.get("LISA_LIMITS_TABLE", "")
        if not limits:
            raise ValueError("LISA_LIMITS_TABLE is empty: set it to the name of the limits table")
        bus = env.get("LISA_EVENT_BUS", "")
        if not bus:
            raise ValueError("LISA_EVENT_BUS is empty: set it to the name of the event bus")
        base_path = env.get("LISA_BASE_PATH", "").rstrip("/")
        if base_path and not base_path.startswith("/"):
            raise ValueError("LISA_BASE_PATH must begin with a slash")
        return cls(
            identity=IdentitySettings.from_environment(env),
            models_table=table,
            usage_queue_url=queue,
            limits_table=limits,
            vector_stores_function=env.get("LISA_VECTOR_STORES_FUNCTION", ""),
            search_function=env.get("LISA_SEARCH_FUNCTION", ""),
            documents_bucket=env.get("LISA_DOCUMENTS_BUCKET", ""),
            max_file_bytes=_number(env, "LISA_MAX_FILE_BYTES", 50 * 1024 * 1024),
            service_key_secret=env.get("LISA_SERVICE_KEY_SECRET", ""),
            event_bus=bus,
            host=env.get("HOST") or "0.0.0.0",  # noqa: S104
            port=_number(env, "PORT", 4000),
            deployment=env.get("LISA_DEPLOYMENT") or "lisa",
            max_body_bytes=_number(env, "LISA_MAX_BODY_BYTES", 10 * 1024 * 1024),
            base_path=base_path,
            drain_seconds=_number(env, "LISA_DRAIN_SECONDS", 8),
            allowed_provider_hosts=tuple(
                host.strip() for host in env.get("LISA_ALLOWED_PROVIDER_HOSTS", "").split(",") if host.strip()
            ),
        )


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)
