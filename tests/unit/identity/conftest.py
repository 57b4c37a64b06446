import pytest

from tests.unit.identity.issuer import Issuer


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()
