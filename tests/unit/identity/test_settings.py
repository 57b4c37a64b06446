import subprocess
import sys

import pytest
from lisa.identity import IdentitySettings


def test_settings_come_from_the_environment():
    settings = IdentitySettings.from_environment(
        {
            "LISA_ISSUER": "https://i",
            "LISA_CLIENT_ID_PARAMETER": "/lisa/client",
            "LISA_GROUPS_CLAIM": "realm.roles",
            "LISA_ADMIN_GROUP": "ops",
            "LISA_JWKS_URL": "http://j",
            "LISA_USER_GROUP": "staff",
        }
    )
    assert settings == IdentitySettings(
        issuer="https://i",
        client_id_parameter="/lisa/client",
        groups_claim="realm.roles",
        admin_group="ops",
        jwks_url="http://j",
        user_group="staff",
    )


def test_empty_variables_mean_the_defaults():
    settings = IdentitySettings.from_environment(
        {"LISA_ISSUER": "https://i", "LISA_CLIENT_ID": "c", "LISA_GROUPS_CLAIM": "", "LISA_ADMIN_GROUP": ""}
    )
    assert (settings.groups_claim, settings.admin_group, settings.user_group) == (
        "cognito:groups",
        "admin",
        "",
    )


@pytest.mark.parametrize(
    ("environment", "missing"), [({}, "LISA_ISSUER"), ({"LISA_ISSUER": "x"}, "LISA_CLIENT_ID")]
)
def test_a_missing_variable_is_named(environment, missing):
    with pytest.raises(ValueError, match=missing):
        IdentitySettings.from_environment(environment)


def test_importing_identity_loads_nothing_heavy():
    heavy = ("boto3", "botocore", "pydantic", "aws_lambda_powertools", "aiohttp")
    code = f"import sys, lisa.identity; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
