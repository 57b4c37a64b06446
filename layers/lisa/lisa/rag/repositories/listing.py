"""Lists of collections as upstream's clients ask for them: filtered, sorted, by page."""

import json
from collections.abc import Callable
from typing import Any

from lisa.errors import InvalidRequest
from lisa.paging import check_size, key_of, next_token
from lisa.rag.records import Collection, CollectionStatus, Repository
from lisa.rag.repositories.definitions import collection_answer
from lisa.rag.repositories.schema import CollectionQuery, CollectionsAnswer, Pagination

Found = tuple[Repository, Collection]

_SORTS: dict[str, Callable[[Collection], Any]] = {
    "createdAt": lambda collection: collection.created_at,
    "updatedAt": lambda collection: collection.updated_at,
    "name": lambda collection: collection.name.casefold(),
}
# Upstream knows one more, of what is not there any more.
_STATUSES = frozenset({*map(str, CollectionStatus), "DELETED"})


def listed(found: list[Found], query: CollectionQuery) -> CollectionsAnswer:
    """The collections that are asked for. Without a page size, all; raises InvalidRequest naming what is wrong."""
    check_size(query.page_size)
    ordered = _sorted([each for each in found if _fits(each, query)], query)
    total = len(ordered)
    size = query.page_size or max(total, 1)
    begin = _begin(ordered, query, size)
    page = ordered[begin : begin + size]
    has_more = begin + size < total
    last = _identity(page[-1]) if page and has_more else None
    return CollectionsAnswer(
        collections=[collection_answer(*each) for each in page],
        pagination=Pagination(
            total_count=total, current_page=begin // size + 1, total_pages=max(1, -(-total // size))
        ),
        last_evaluated_key=last | {"status": str(page[-1][1].status)} if last else None,
        next_token=next_token(json.dumps(last)) if last else None,
        has_next_page=has_more,
        has_previous_page=begin > 0,
    )


def _fits(each: Found, query: CollectionQuery) -> bool:
    collection = each[1]
    status = (query.status_filter or query.status or "").upper()
    if status:
        if status not in _STATUSES:
            raise InvalidRequest(
                f"There is no status {status[:40]!r}: use one of {', '.join(sorted(_STATUSES))}.",
                field="status",
            )
        if collection.status != status:
            return False
    wanted = (query.filter_text or query.filter or "").casefold()
    if wanted:
        return wanted in collection.name.casefold() or wanted in collection.description.casefold()
    return True


def _sorted(found: list[Found], query: CollectionQuery) -> list[Found]:
    key = _SORTS.get(query.sort_by or "createdAt")
    if key is None:
        raise InvalidRequest(f"sortBy must be one of {', '.join(_SORTS)}.", field="sortBy")
    order = (query.sort_order or "desc").lower()
    if order not in ("asc", "desc"):
        raise InvalidRequest("sortOrder must be asc or desc.", field="sortOrder")
    by_id = sorted(found, key=lambda each: (each[1].repository_id, each[1].id))
    return sorted(by_id, key=lambda each: key(each[1]), reverse=order == "desc")


def _begin(ordered: list[Found], query: CollectionQuery, size: int) -> int:
    """Where the page begins. Behind a collection that is gone meanwhile nothing is known: begin again."""
    after = key_of(query.next_token) or query.last_evaluated_key
    try:
        wanted = json.loads(after) if after else {"collectionId": query.last_evaluated_key_collection_id}
        collection_id, repository_id = wanted["collectionId"], wanted.get("repositoryId")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidRequest(
            "lastEvaluatedKey is not one that a page gave.", field="lastEvaluatedKey"
        ) from None
    if not collection_id:
        return ((query.page or 1) - 1) * size
    places = [
        place
        for place, (_, collection) in enumerate(ordered)
        if collection.id == collection_id and repository_id in (None, collection.repository_id)
    ]
    return places[0] + 1 if places else 0


def _identity(each: Found) -> dict[str, str]:
    return {"repositoryId": each[1].repository_id, "collectionId": each[1].id}
