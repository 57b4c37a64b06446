"""Callers, and things of retrieval that they may or may not see."""

from typing import Any

from lisa.identity.principal import Principal
from lisa.rag.records import Collection, CollectionStatus, Repository, RepositoryStatus, StoreType


def person(user: str, *groups: str, admin: bool = False, rag_admin: bool = False) -> Principal:
    return Principal(
        user=user, groups=frozenset(groups), is_admin=admin, expires_at=2e9, is_rag_admin=rag_admin
    )


ADMIN = person("root", admin=True)


def repository(repository_id: str = "library", **fields: Any) -> Repository:
    return Repository(
        **{
            "id": repository_id,
            "type": StoreType.PGVECTOR,
            "name": repository_id,
            "embedding_model_id": "mini",
            "status": RepositoryStatus.CREATE_COMPLETE,
            "version": 1,
            **fields,
        }
    )


def collection(collection_id: str = "c-1", **fields: Any) -> Collection:
    return Collection(
        **{
            "id": collection_id,
            "repository_id": "library",
            "name": collection_id,
            "embedding_model": "mini",
            "dimensions": 384,
            "status": CollectionStatus.ACTIVE,
            "version": 1,
            **fields,
        }
    )
