"""What a function is told by its environment. One class, read once; what a function does not need is left empty."""

import os
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Names of resources and limits. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    deployment: str = "lisa"
    stage: str = "local"
    models_table: str = ""
    weights_bucket: str = ""
    tokens_table: str = ""
    api_token_max_days: int = 365
    api_token_group: str = ""
    admin_group: str = "admin"
    user_group: str = ""
    event_bus: str = ""
    audit_table: str = ""
    audit_retention_days: int = 400
    cluster: str = ""
    models_url: str = Field(default="", description="The models' load balancer: http://name:port")
    allowed_provider_hosts: tuple[str, ...] = ()
    model_start_timeout: int = 1800
    cpu_image: str = ""
    gpu_image: str = ""
    capacity: str = "managed"
    listener_arn: str = ""
    log_retention_days: int = 30
    vpc_id: str = ""
    subnets: str = ""
    model_security_groups: str = ""
    task_role_arn: str = ""
    execution_role_arn: str = ""
    infrastructure_role_arn: str = ""
    instance_profile_arn: str = ""
    stack_role_arn: str = ""
    create_state_machine_arn: str = ""
    delete_state_machine_arn: str = ""
    usage_table: str = ""
    usage_retention_days: int = 395
    limits_table: str = ""
    repositories_table: str = ""
    repository_create_state_machine_arn: str = ""
    repository_update_state_machine_arn: str = ""
    repository_delete_state_machine_arn: str = ""
    collection_create_state_machine_arn: str = ""
    collection_delete_state_machine_arn: str = ""
    documents_table: str = ""
    documents_bucket: str = ""
    max_document_bytes: int = 52_428_800
    work_queue_url: str = ""
    interactive_queue_url: str = ""
    document_ingest_state_machine_arn: str = ""
    document_ingest_long_state_machine_arn: str = ""
    document_delete_state_machine_arn: str = ""
    collection_reindex_state_machine_arn: str = ""
    document_find_arn: str = ""
    scheduler_role_arn: str = ""
    auto_remove: bool = Field(
        default=True, description="Remove documents whose files are deleted from the drop folder"
    )
    ingestion_slots: int = Field(default=2, description="Long documents that are ingested at once")
    gateway_url: str = Field(
        default="", description="The gateway behind the internal load balancer: http://name:port"
    )
    service_key_secret: str = Field(
        default="", description="The secret with the key for it (lisa.identity.service_key)"
    )
    pgvector_host: str = ""
    pgvector_port: int = 5432
    pgvector_database: str = "lisa"
    pgvector_user: str = ""
    pgvector_secret: str = Field(default="", description="Secret with the password; empty signs in with IAM")
    pgvector_connect_seconds: int = Field(default=40, description="A database that sleeps wakes within them")
    pgvector_connect_tries: int = 3
    opensearch_url: str = Field(default="", description="The deployment's OpenSearch: https://name:port")
    opensearch_secret: str = Field(
        default="", description="Secret with user and password; empty signs with the role"
    )
    opensearch_engine: str = Field(default="lucene", description="What builds the graph of vectors, or faiss")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Reads `LISA_<NAME>` for each field."""
        source = os.environ if environment is None else environment
        found: dict[str, object] = {}
        for name in cls.model_fields:
            value = source.get("LISA_" + name.upper())
            if value is None:
                continue
            found[name] = tuple(filter(None, value.split(","))) if name == "allowed_provider_hosts" else value
        return cls.model_validate(found)
