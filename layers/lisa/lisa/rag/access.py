"""Who may see, feed and change what retrieval keeps. Every way in asks here, and nowhere else are these rules.

- A repository is seen by its groups, by everyone where it has none. Administrators change and delete it.
- A collection is seen by who sees the repository and is in the collection's groups. Without groups everyone who sees
  the repository sees it; or, where it has an owner, the owner alone. Who sees it may add documents. Its owner and
  administrators of retrieval change and delete it.
- A document is seen by who sees the collection. Its owner, the collection's owner and administrators of retrieval
  change and delete it.

Administrators see and may do everything; administrators of retrieval only what they see.
"""

from lisa.identity.principal import Principal
from lisa.rag.records import Collection, Repository
from lisa.rag.vectors.base import Reader, Visibility


def sees_repository(principal: Principal, repository: Repository) -> bool:
    return principal.may_use(repository.allowed_groups)


def sees_collection(principal: Principal, repository: Repository, collection: Collection) -> bool:
    if principal.is_admin:
        return True
    if collection.repository_id != repository.id or not sees_repository(principal, repository):
        return False
    if owns(principal, collection):
        return True
    if collection.owner and not collection.allowed_groups:
        return False
    return principal.may_use(collection.allowed_groups)


def owns(principal: Principal, collection: Collection) -> bool:
    return bool(collection.owner) and collection.owner == principal.user


def may_create_collection(principal: Principal, repository: Repository) -> bool:
    if principal.is_admin:
        return True
    return sees_repository(principal, repository) and (
        principal.is_rag_admin or repository.allow_user_collections
    )


def may_change_collection(principal: Principal, repository: Repository, collection: Collection) -> bool:
    return sees_collection(principal, repository, collection) and (
        principal.is_admin or principal.is_rag_admin or owns(principal, collection)
    )


def may_feed(principal: Principal, repository: Repository, collection: Collection) -> bool:
    """Whether they may add documents of their own."""
    return sees_collection(principal, repository, collection)


def may_change_document(
    principal: Principal, repository: Repository, collection: Collection, document_owner: str
) -> bool:
    """Whether they may replace or delete a document of this owner; one without an owner came by a folder."""
    return may_change_collection(principal, repository, collection) or (
        sees_collection(principal, repository, collection)
        and bool(document_owner)
        and document_owner == principal.user
    )


def visibility(repository: Repository, collection: Collection) -> Visibility:
    """The same rule for the store, which keeps it in its own query.

    A collection's groups are among the repository's (the service holds them to it), so they say it all.
    """
    if collection.allowed_groups:
        return Visibility(groups=collection.allowed_groups, owner=collection.owner)
    if collection.owner:
        return Visibility(owner=collection.owner)
    return Visibility(groups=repository.allowed_groups)


def reader(principal: Principal) -> Reader:
    return Reader(user=principal.user, groups=principal.groups, is_admin=principal.is_admin)
