"""Signing in to OpenSearch, and what its failures mean to people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    OpenSearchException,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as NotReached

from lisa.errors import InvalidRequest, LisaError, Unavailable

Json = dict[str, Any]
Result = TypeVar("Result")

BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Address:
    """`url` as `https://host:port`. Signed with the function's own role where there is a `region`.

    `credentials` gives user and password and is asked once; None is without. `engine` is what builds the graph of
    vectors, `lucene` or `faiss`. `prefix` begins the names of all indices, so that deployments share a cluster.
    """

    url: str
    region: str = ""
    credentials: Callable[[], tuple[str, str]] | None = None
    engine: str = "lucene"
    prefix: str = "lisa"
    seconds: int = 30


def connect(address: Address) -> OpenSearch:
    """A client, which connects when it is first used."""
    if address.region:
        import boto3

        auth: Any = Urllib3AWSV4SignerAuth(boto3.Session().get_credentials(), address.region)
    else:
        auth = address.credentials() if address.credentials else None
    return OpenSearch(
        hosts=[address.url],
        http_auth=auth,
        connection_class=Urllib3HttpConnection,
        timeout=address.seconds,
        pool_maxsize=20,
        # A write whose answer was lost may still be under way: whoever called begins anew, with a version of its own.
        max_retries=0,
    )


def read(call: Callable[[], Result]) -> Result:
    """The answer of a call that may be made twice: a function that slept finds its connections closed.

    Raises what `write` raises.
    """
    try:
        return call()
    except ConnectionTimeout as error:
        raise failure(error) from error
    except NotReached:
        return write(call)
    except OpenSearchException as error:
        raise failure(error) from error


def write(call: Callable[[], Result]) -> Result:
    """The answer of a call that is made once.

    Raises:
        Unavailable: OpenSearch is away, overloaded, or does not let us in.
        InvalidRequest: it does not take what was given.
        Missing: there is no such index.
        Conflicting: what is written over has changed.
    """
    try:
        return call()
    except OpenSearchException as error:
        raise failure(error) from error


class Missing(LisaError):
    """There is no such index; becomes NotFound with the collection's name."""

    default_code, default_status = "not_found", 404


class Conflicting(LisaError):
    """Somebody else has written meanwhile; is tried again."""

    default_code, default_status = "conflict", 409


def failure(error: OpenSearchException) -> LisaError:
    if isinstance(error, AuthenticationException | AuthorizationException):
        return Unavailable("OpenSearch does not let LISA in: its credentials or its access policy are wrong.")
    if isinstance(error, ConnectionTimeout):
        return Unavailable("OpenSearch took too long. Try again later.", retry_after=30)
    if not isinstance(error, TransportError) or isinstance(error, NotReached):
        return Unavailable("OpenSearch does not answer. Try again later.", retry_after=30)
    if error.status_code == 404:
        return Missing("There is no such index.")
    if error.status_code == 409:
        return Conflicting("Somebody else has changed the same.")
    return refusal(error.status_code, error.info)


def refusal(status: object, info: object) -> LisaError:
    """What a status other than success means, in an answer or in a part of one."""
    reason = _reason(info)
    if status == 400:
        return InvalidRequest(f"OpenSearch refuses this: {reason}")
    if status in BUSY:
        return Unavailable("OpenSearch is overloaded. Try again in a few seconds.", retry_after=5)
    return Unavailable(f"OpenSearch failed with {status}: {reason}", retry_after=30)


def _reason(info: object) -> str:
    """The innermost reason of an error, which is the one that says something."""
    found = info.get("error", info) if isinstance(info, dict) else info
    while isinstance(found, dict):
        causes = found.get("root_cause")
        inner = found.get("caused_by") or (causes[0] if causes and causes[0] is not found else None)
        if not isinstance(inner, dict) or not inner.get("reason"):
            return str(found.get("reason", found))[:300]
        found = inner
    return str(found)[:300]
