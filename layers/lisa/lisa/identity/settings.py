"""Where tokens come from; the same environment variables in every function and container."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Which tokens are accepted.

    Either `client_id` or `client_id_parameter` (the name of an SSM parameter, read when the first token
    arrives) says for whom a token must have been issued. Without `tokens_table` there are no API tokens.
    """

    issuer: str
    client_id: str = ""
    client_id_parameter: str = ""
    jwks_url: str = ""
    groups_claim: str = "cognito:groups"
    admin_group: str = "admin"
    user_group: str = ""
    rag_admin_group: str = "rag-admin"
    tokens_table: str = ""

    def __post_init__(self) -> None:
        if not self.issuer:
            raise ValueError("LISA_ISSUER is empty: set it to the `iss` of the tokens to accept")
        if not (self.client_id or self.client_id_parameter):
            raise ValueError("set LISA_CLIENT_ID, or LISA_CLIENT_ID_PARAMETER to its SSM parameter")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "IdentitySettings":
        """Reads the `LISA_*` variables; raises ValueError naming the one that is missing."""
        env = os.environ if environment is None else environment
        return cls(
            issuer=env.get("LISA_ISSUER", ""),
            client_id=env.get("LISA_CLIENT_ID", ""),
            client_id_parameter=env.get("LISA_CLIENT_ID_PARAMETER", ""),
            jwks_url=env.get("LISA_JWKS_URL", ""),
            groups_claim=env.get("LISA_GROUPS_CLAIM") or "cognito:groups",
            admin_group=env.get("LISA_ADMIN_GROUP") or "admin",
            user_group=env.get("LISA_USER_GROUP", ""),
            rag_admin_group=env.get("LISA_RAG_ADMIN_GROUP") or "rag-admin",
            tokens_table=env.get("LISA_TOKENS_TABLE", ""),
        )


def read_parameter(name: str) -> str:
    """The value of an SSM parameter. boto3 is imported here, so that settings without one never load it."""
    import boto3

    # A session of its own: the default one must not be used by two threads at once.
    value: str = boto3.session.Session().client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    return value


ParameterReader = Callable[[str], str]
