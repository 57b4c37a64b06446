"""The rules for limits and prices."""

import base64
import binascii
import time
from collections.abc import Callable

from lisa.errors import Conflict, InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.limits.counters import CounterStore, Totals
from lisa.limits.prices import MILLION, Price, to_dollars
from lisa.limits.record import AMOUNTS, EVERYBODY, SUBJECT_TYPES, Limit, SubjectType, counter_key
from lisa.limits.schema import LimitInUse, LimitView, PriceView, PutLimit, PutPrice
from lisa.limits.store import LimitStore
from lisa.limits.windows import Window
from lisa.models.store import ModelStore
from lisa.paging import MAX_PAGE, check_size, key_of, next_token

MAX_ID = 200  # characters


class LimitService:
    def __init__(
        self,
        store: LimitStore,
        counters: CounterStore,
        models: ModelStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._counters = counters
        self._models = models
        self._clock = clock

    def put(self, principal: Principal, subject_type: str, subject_id: str, request: PutLimit) -> LimitView:
        """Replaces all limits of a subject.

        Raises InvalidRequest for a subject that cannot be, and for limits that contradict each other.
        """
        kind, name = _subject(subject_type, subject_id)
        amounts = request.amounts()
        if kind == "model":
            self._known(name)
            if not amounts.keys().isdisjoint(_COSTS) and self._store.price(name) is None:
                raise InvalidRequest(
                    f"The model {name!r} has no price, so its cost is not known: PUT /api/prices/{name} first.",
                    code="price_missing",
                    field=next(cost for cost in _COSTS if cost in amounts),
                )
        limit = Limit(
            kind, name, amounts, max(1, round(request.warn_at * MILLION)), int(self._clock()), principal.user
        )
        self._store.put_limit(limit)
        return LimitView.of(limit)

    def get(self, subject_type: str, subject_id: str) -> LimitView:
        """Raises NotFound."""
        return LimitView.of(self._found(*_subject(subject_type, subject_id)))

    def delete(self, subject_type: str, subject_id: str) -> LimitView:
        """What it was; raises NotFound."""
        limit = self._found(*_subject(subject_type, subject_id))
        self._store.remove_limit(limit.subject_type, limit.subject_id)
        return LimitView.of(limit)

    def page(
        self, *, page_size: int | None = None, token: str | None = None
    ) -> tuple[list[LimitView], str | None]:
        """A page (100 without a size), and the next page's token. Raises InvalidRequest."""
        check_size(page_size)
        limits, last = self._store.limits(size=page_size or MAX_PAGE, after=key_of(token))
        return [LimitView.of(limit) for limit in limits], next_token(last)

    def own(self, principal: Principal) -> list[LimitInUse]:
        """The limits that hold for the caller whatever the model, and what is used of them.

        Requests count as used once they are leased to a gateway, which may be a moment before they come.
        """
        user = self._store.limit("user", principal.user) or self._store.limit("default-user", EVERYBODY)
        found = [("user", principal.user, user)]
        found += [("group", group, self._store.limit("group", group)) for group in sorted(principal.groups)]
        if principal.token_id:
            found.append(("token", principal.token_id, self._store.limit("token", principal.token_id)))
        return [
            used for kind, name, limit in found if limit is not None for used in self._used(kind, name, limit)
        ]

    def put_price(self, principal: Principal, model_id: str, request: PutPrice) -> PriceView:
        """Raises InvalidRequest for a model that does not exist."""
        self._known(model_id)
        price = Price(
            model_id,
            request.prompt_per_million,
            request.completion_per_million,
            int(self._clock()),
            principal.user,
        )
        self._store.put_price(price)
        return _view(price)

    def delete_price(self, model_id: str) -> PriceView:
        """Raises NotFound, or Conflict while a limit of the model's needs it."""
        price = self._store.price(model_id)
        if price is None:
            raise NotFound(f"The model {model_id!r} has no price.", code="price_not_found")
        limit = self._store.limit("model", model_id)
        if limit is not None and not limit.amounts.keys().isdisjoint(_COSTS):
            raise Conflict(
                f"The model {model_id!r} has a limit on its cost, which needs the price: change that limit first."
            )
        self._store.remove_price(model_id)
        return _view(price)

    def prices(
        self, *, page_size: int | None = None, token: str | None = None
    ) -> tuple[list[PriceView], str | None]:
        check_size(page_size)
        prices, last = self._store.prices(size=page_size or MAX_PAGE, after=key_of(token))
        return [_view(price) for price in prices], next_token(last)

    def _found(self, kind: SubjectType, name: str) -> Limit:
        limit = self._store.limit(kind, name)
        if limit is None:
            raise NotFound(f"There is no limit for the {kind} {name!r}.", code="limit_not_found")
        return limit

    def _known(self, model_id: str) -> None:
        if self._models.get(model_id) is None:
            raise InvalidRequest(f"There is no model {model_id!r}.", code="unknown_model", field="modelId")

    def _used(self, kind: str, name: str, limit: Limit) -> list[LimitInUse]:
        now, subject = int(self._clock()), counter_key(kind, name)
        totals: dict[Window, Totals] = {}
        found = []
        for amount in AMOUNTS:
            if amount.name not in limit.amounts:
                continue
            start, end = amount.window.bounds(now)
            if amount.window not in totals:
                totals[amount.window] = self._counters.read(subject, amount.window, start)
            allowed, used = limit.amounts[amount.name], getattr(totals[amount.window], amount.quantity)
            values = {"allowed": allowed, "used": used, "remaining": max(0, allowed - used)}
            found.append(
                LimitInUse.model_validate(
                    {
                        "subjectType": kind,
                        "subjectId": name,
                        "limit": amount.name,
                        "resetsAt": end,
                        **(
                            {n: to_dollars(v) for n, v in values.items()}
                            if amount.quantity == "cost"
                            else values
                        ),
                    }
                )
            )
        return found


_COSTS = tuple(amount.name for amount in AMOUNTS if amount.quantity == "cost")


def _subject(subject_type: str, subject_id: str) -> tuple[SubjectType, str]:
    """The subject in a path. An id with characters that a path cannot hold comes as `~` and its base64url."""
    if subject_type not in SUBJECT_TYPES:
        raise InvalidRequest(f"subjectType must be one of {', '.join(SUBJECT_TYPES)}.", field="subjectType")
    if subject_id.startswith("~"):
        try:
            padded = subject_id[1:] + "=" * (-(len(subject_id) - 1) % 4)
            subject_id = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
        except (ValueError, binascii.Error):
            raise InvalidRequest(
                "A subjectId that begins with ~ must go on with the base64url of the id.", field="subjectId"
            ) from None
    if subject_type == "default-user" and subject_id != EVERYBODY:
        raise InvalidRequest(
            "The limit for users without one of their own is default-user/*.", field="subjectId"
        )
    if not 1 <= len(subject_id) <= MAX_ID:
        raise InvalidRequest(f"subjectId must have 1-{MAX_ID} characters.", field="subjectId")
    return subject_type, subject_id  # type: ignore[return-value]


def _view(price: Price) -> PriceView:
    return PriceView(
        model_id=price.model_id,
        prompt_per_million=to_dollars(price.prompt),
        completion_per_million=to_dollars(price.completion),
        updated_at=price.updated_at,
        updated_by=price.updated_by,
    )
