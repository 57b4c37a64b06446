"""Every test in this folder needs the local cloud."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import get_unverified_header

from tests.access.forgeries import Forge, claims_of
from tests.cloud import TestCloud


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cloud)


@pytest.fixture(scope="session")
def forge(cloud: TestCloud) -> Forge:
    """Makes tokens with the very key with which the local Cognito signs id tokens."""
    folder = cloud.home.path / "emulator" / "state" / "cognito-pool-keys"
    pem = (folder / f"{cloud.outputs['UserPoolId']}-id.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    admin = cloud.token("admin")
    return Forge(key, get_unverified_header(admin)["kid"], claims_of(admin))
