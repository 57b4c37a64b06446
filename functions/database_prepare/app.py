"""Custom resource `Custom::Database`: prepares the deployment's PostgreSQL for retrieval (extension, user, tables)."""

from __future__ import annotations

from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.typing import LambdaContext
from lisa.custom_resource import answer
from lisa.rag.vectors.connect import secret_password
from lisa.rag.vectors.pgvector import Address
from lisa.rag.vectors.pgvector.preparing import prepare

logger = Logger()
tracer = Tracer()


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    properties = event["ResourceProperties"]
    physical_id = f"{properties['Host']}/{properties['Database']}"
    failure = ""
    # When it is deleted, the database goes with all that was prepared in it.
    if event["RequestType"] != "Delete":
        try:
            prepare(_owner(properties), properties["User"])
        except Exception as error:  # CloudFormation would wait an hour for an answer that never comes
            logger.exception("the database could not be prepared")
            failure = f"The database {physical_id} could not be prepared: {error}"
    answer(event, physical_id, failure=failure)


def _owner(properties: dict[str, str]) -> Address:
    return Address(
        host=properties["Host"],
        port=int(properties["Port"]),
        database=properties["Database"],
        user=properties["Owner"],
        password=partial(secret_password, properties["OwnerSecret"]),
    )
