"""Nobody is root over HTTP, and the operator is who deploys."""

from __future__ import annotations

import json
import stat

import pytest
import requests
from botocore.exceptions import ClientError

from .conftest import Cloud

REFUSED = {
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "403",
}


@pytest.mark.parametrize("key", ["test", "000000000000", "123456789012", "AKIAIOSFODNN7EXAMPLE"])
@pytest.mark.parametrize("service", ["s3", "dynamodb", "iam"])
def test_a_key_that_emulators_take_for_root_is_refused(shared: Cloud, key: str, service: str) -> None:
    # Given
    client = shared.client(service, aws_access_key_id=key, aws_secret_access_key="test")
    call = {"s3": "list_buckets", "dynamodb": "list_tables", "iam": "list_users"}[service]
    # When
    with pytest.raises(ClientError) as refused:
        getattr(client, call)()
    # Then
    assert refused.value.response["Error"]["Code"] in REFUSED


def test_the_operators_key_with_a_wrong_secret_is_refused(shared: Cloud) -> None:
    wrong = {**shared.operator, "aws_secret_access_key": "wrong"}
    with pytest.raises(ClientError) as refused:
        shared.client("dynamodb", **wrong).list_tables()
    assert refused.value.response["Error"]["Code"] in REFUSED | {"InvalidSignatureException"}


@pytest.mark.parametrize("authorization", ["Bearer anything", "Basic dGVzdDp0ZXN0", None])
def test_a_request_that_is_not_signed_is_refused(shared: Cloud, authorization: str | None) -> None:
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    if authorization:
        headers["Authorization"] = authorization
    answer = requests.post(shared.endpoint, headers=headers, data="{}", timeout=10)
    assert answer.status_code in (400, 403), answer.text
    assert "TableNames" not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("POST", "/_ministack/config"),
        ("GET", "/_ministack/lambda-code/anything"),
        ("GET", "/_ministack/sqs/messages"),
        ("GET", "/_localstack/init"),
        ("GET", "/_alb/some/path"),
        ("GET", "/v2/credentials/anything"),
        ("GET", "/%5Fministack/sqs/messages"),
    ],
)
def test_routes_without_credentials_are_closed(shared: Cloud, method: str, path: str) -> None:
    answer = requests.request(method, shared.endpoint + path, timeout=10)
    assert answer.status_code == 403


def test_health_stays_open(shared: Cloud) -> None:
    assert requests.get(shared.endpoint + "/_ministack/health", timeout=10).json()["auth"] == "enabled"


def test_the_operators_key_is_for_its_owner_alone(shared: Cloud) -> None:
    path = shared.home / "operator.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) == {"access_key_id", "secret_access_key"}
    assert shared.client("sts").get_caller_identity()["Arn"].endswith(":user/operator")


def test_the_operator_reads_writes_and_deletes_in_buckets(shared: Cloud) -> None:
    s3 = shared.client("s3")
    s3.create_bucket(Bucket="operators")
    s3.put_object(Bucket="operators", Key="a/b", Body=b"text")
    assert s3.get_object(Bucket="operators", Key="a/b")["Body"].read() == b"text"
    assert s3.list_objects_v2(Bucket="operators")["KeyCount"] == 1
    s3.delete_object(Bucket="operators", Key="a/b")
    assert s3.list_objects_v2(Bucket="operators")["KeyCount"] == 0


def test_the_operator_is_not_an_administrator(shared: Cloud) -> None:
    with pytest.raises(ClientError) as refused:
        shared.client("iam").create_user(UserName="another")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_a_policy_that_asks_for_tls_lets_loopback_through(shared: Cloud) -> None:
    # Given: what SAM puts on its bucket
    s3 = shared.client("s3")
    s3.create_bucket(Bucket="tls-only")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::tls-only/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket="tls-only", Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    # When / Then
    s3.put_object(Bucket="tls-only", Key="key", Body=b"text")
    assert s3.get_object(Bucket="tls-only", Key="key")["Body"].read() == b"text"
