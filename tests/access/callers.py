"""Who calls, in which header, and what the policy says they get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lisa.identity import Principal, Rule, Who
from lisa.identity.policy import admitted

from tests.access.samples import Sample, Sight


@dataclass(frozen=True)
class Caller:
    """Somebody with a token; without a principal they are nobody, whatever they send."""

    name: str
    token: str
    principal: Principal | None = None


def person(user: str, *groups: str) -> Principal:
    return Principal(
        user=user,
        groups=frozenset(groups),
        is_admin="admin" in groups,
        expires_at=0,
        is_rag_admin="rag-admin" in groups,
    )


@dataclass(frozen=True)
class Credential:
    """A way to send a token. `doors` are those that take it; elsewhere the caller is nobody."""

    name: str
    headers: Callable[[str], dict[str, str]]
    doors: frozenset[str] = frozenset({"api", "gateway"})


_OTHERS = "a-token-of-somebody-else"
BEARER = Credential("Authorization: Bearer", lambda token: {"Authorization": f"Bearer {token}"})
CREDENTIALS = (
    BEARER,
    Credential("Authorization: bearer", lambda token: {"authorization": f"bearer {token}"}),
    Credential("Authorization, bare", lambda token: {"Authorization": token}),
    # The management API takes Authorization alone, and does not look at the others.
    Credential("Api-Key", lambda token: {"Api-Key": token}, frozenset({"gateway"})),
    Credential("x-api-key", lambda token: {"x-api-key": token}, frozenset({"gateway"})),
    Credential(
        "Authorization and x-api-key, the same",
        lambda token: {"Authorization": f"Bearer {token}", "x-api-key": token},
    ),
    Credential(
        "Authorization and x-api-key, disagreeing",
        lambda token: {"Authorization": f"Bearer {token}", "x-api-key": _OTHERS},
        frozenset({"api"}),
    ),
    Credential(
        "Api-Key and x-api-key, disagreeing",
        lambda token: {"Api-Key": token, "x-api-key": _OTHERS},
        frozenset(),
    ),
)
NO_TOKEN = Credential("nothing", lambda token: {}, frozenset())


@dataclass(frozen=True)
class Cell:
    rule: Rule
    sample: Sample
    caller: Caller
    credential: Credential
    expected: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", self._expected())

    def __str__(self) -> str:
        return f"{self.rule.method} {self.sample.path} as {self.caller.name} by {self.credential.name}"

    @property
    def headers(self) -> dict[str, str]:
        content = {} if self.sample.body is None else {"Content-Type": self.sample.content_type}
        return self.credential.headers(self.caller.token) | content

    def _expected(self) -> tuple[int, ...]:
        if self.rule.who is Who.PUBLIC:
            return self.sample.answers
        who = self.caller.principal if self.rule.door in self.credential.doors else None
        if who is None:
            return (401,)
        if self.rule.who not in admitted(who):
            return (403,)
        return self.sample.answers if _sees(self.sample, who) else self.sample.hidden

    def complaint(self, status: int, body: bytes) -> str | None:
        """What is wrong with an answer: its status, or for a refusal its shape."""
        if status not in self.expected:
            return f"{self}: {status}, not {self.expected} ({body[:200]!r})"
        if status in {401, 403, 404} and not self._has_our_shape(body):
            return f"{self}: {status} in another shape than all errors: {body[:200]!r}"
        return None

    def _has_our_shape(self, body: bytes) -> bool:
        try:
            document = json.loads(body)
        except ValueError:
            return False
        if self.rule.door == "api":
            return {"message", "code", "requestId"} <= set(document) <= {
                "message", "code", "requestId", "field",
            }  # fmt: skip
        if "/messages" in self.rule.path:
            return set(document) == {"type", "error", "request_id"} and set(document["error"]) == {
                "type", "message",
            }  # fmt: skip
        return set(document) == {"error"} and set(document["error"]) == {"message", "type", "param", "code"}


def _sees(sample: Sample, who: Principal) -> bool:
    match sample.sight:
        case Sight.TEAM_A:
            return who.may_use(("team-a",))
        case Sight.ALICE:
            return who.is_admin or who.user == "alice"
    return True


def column(callers: Iterable[Caller], forged: Iterable[Caller]) -> list[tuple[Caller, Credential]]:
    """What every route is called with: everybody by Bearer, and one good and one forged token in every header."""
    people, strangers = list(callers), list(forged)
    cells = [(Caller("nobody", ""), NO_TOKEN)]
    cells += [(caller, BEARER) for caller in people + strangers]
    cells += [
        (caller, credential)
        for caller in (people[0], strangers[0])
        for credential in CREDENTIALS
        if credential is not BEARER
    ]
    return cells
