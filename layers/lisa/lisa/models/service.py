"""What people may do with models. Writes only say what is wanted; the table's stream starts the work."""

import time
from collections.abc import Callable

from lisa.errors import Conflict, InvalidRequest, LisaError, NotFound
from lisa.identity.principal import Principal
from lisa.models.provider_url import check_provider_url
from lisa.models.record import DELETE_SECONDS, ModelRecord, time_allowed
from lisa.models.schema import CreateModel, Model
from lisa.models.secrets import ProviderKeys
from lisa.models.store import ModelStore
from lisa.paging import check_size, key_of, next_token
from lisa.settings import Settings


def may_see(principal: Principal, record: ModelRecord) -> bool:
    """Admins see all models; others those for everyone and those for a group of theirs."""
    allowed = record.definition.allowed_groups
    return principal.is_admin or not allowed or not principal.groups.isdisjoint(allowed)


class ModelService:
    """`used_by` says what needs a model, in words, if anything does."""

    def __init__(
        self,
        settings: Settings,
        store: ModelStore,
        keys: ProviderKeys,
        *,
        used_by: Callable[[str], str | None] = lambda model_id: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        self._used_by = used_by
        self._clock = clock

    def create(self, principal: Principal, request: CreateModel) -> Model:
        """Stores the wish for a model and its provider's key.

        Raises InvalidRequest naming the field, Conflict when the name is taken.
        """
        definition = request.definition()
        definition.check()
        if definition.model_url and not definition.hosted:
            check_provider_url(definition.model_url, self._settings.allowed_provider_hosts)
        if not definition.hosted and not self._settings.allowed_provider_hosts:
            raise InvalidRequest(
                "This deployment has no way out to external providers (its parameter AllowedProviderHosts is empty, or "
                "NetworkMode isolated): host the model, or ask the operator.",
                field="hostingType",
            )
        if self._store.get(definition.model_id) is not None:
            raise self._taken(definition.model_id)
        secret_arn = None
        if request.api_key is not None and not definition.hosted:
            secret_arn = self._keys.keep(definition.model_id, request.api_key)
        # An execution's name is never free again, not even when its model is gone: a model of the same id that is made
        # later begins at a later generation.
        generation = int(self._clock() * 1000)
        now = generation // 1000
        record = ModelRecord(
            definition=definition,
            status="Creating",
            desired="present",
            generation=generation,
            attempt=1,
            created_at=now,
            updated_at=now,
            created_by=principal.user,
            deadline=now + time_allowed(definition, "present", self._settings.model_start_timeout),
            secret_arn=secret_arn,
        )
        try:
            self._store.create(record)
        except LisaError:
            if self._store.get(definition.model_id) == record:
                # The write was done and its answer lost, and the client's second try met our own row.
                return record.public()
            if secret_arn is not None:
                self._keys.forget(secret_arn)
            raise
        return record.public()

    def get(self, principal: Principal, model_id: str) -> Model:
        """Raises NotFound also for a model that the caller may not see."""
        record = self._store.get(model_id)
        if record is None or not may_see(principal, record):
            raise self._missing(model_id)
        return record.public()

    def list(
        self, principal: Principal, *, page_size: int | None = None, token: str | None = None
    ) -> tuple[list[Model], str | None]:
        """The models that the caller may see, and the next page's token; all of them without a page size.

        Raises InvalidRequest for a size outside 1-100 or a token that none of our pages gave.
        """
        check_size(page_size)
        records, last = self._store.page(limit=page_size, after=key_of(token))
        models = [record.public() for record in records if may_see(principal, record)]
        return models, next_token(last)

    def delete(self, model_id: str) -> Model:
        """Wishes the model away; asking again changes nothing.

        Raises NotFound, or Conflict when something needs the model or the row changes under our hands.
        """
        record = self._store.get(model_id)
        if record is None:
            raise self._missing(model_id)
        if record.desired == "absent" and record.status == "Deleting":
            return record.public()
        # One that has failed serves nobody: to delete it is how it is made again.
        user = self._used_by(model_id) if record.status != "Failed" else None
        if user is not None:
            raise Conflict(
                f"The model {model_id!r} embeds the documents of {user}: delete that first.",
                code="model_in_use",
            )
        now = int(self._clock())
        wished = self._store.want_absent(record, now=now, deadline=now + DELETE_SECONDS)
        if wished is None:
            raise Conflict(
                f"The model {model_id!r} has just been changed by another request: look, and try again."
            )
        return wished.public()

    @staticmethod
    def _taken(model_id: str) -> Conflict:
        return Conflict(
            f"There is a model {model_id!r} already: choose another modelId, or delete it first.",
            code="model_exists",
            field="modelId",
        )

    @staticmethod
    def _missing(model_id: str) -> NotFound:
        return NotFound(f"There is no model {model_id!r}.", code="model_not_found")
