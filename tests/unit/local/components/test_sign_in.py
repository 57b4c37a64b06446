"""Cognito's hosted sign-in through the front door."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from .conftest import Cloud, deploy

POOL = """
Resources:
  Pool: {Type: AWS::Cognito::UserPool, Properties: {UserPoolName: people}}
  Team: {Type: AWS::Cognito::UserPoolGroup, Properties: {GroupName: team-a, UserPoolId: !Ref Pool}}
  Domain: {Type: AWS::Cognito::UserPoolDomain, Properties: {Domain: people, UserPoolId: !Ref Pool}}
  Client:
    Type: AWS::Cognito::UserPoolClient
    Properties:
      UserPoolId: !Ref Pool
      AllowedOAuthFlowsUserPoolClient: true
      AllowedOAuthFlows: [code]
      AllowedOAuthScopes: [openid, email, profile]
      CallbackURLs: ["http://localhost:8080/"]
      SupportedIdentityProviders: [COGNITO]
      ExplicitAuthFlows: [ALLOW_REFRESH_TOKEN_AUTH]
Outputs:
  Pool: {Value: !Ref Pool}
  Client: {Value: !Ref Client}
"""


def claims(token: str) -> dict:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


@pytest.mark.parametrize("prefix", ["", "/lisa"])
def test_sign_in_with_pkce_and_groups_survive_a_refresh(new_cloud: Callable[..., Cloud], prefix: str) -> None:
    # Given: a pool with one user in a group
    cloud = new_cloud(prefix=prefix)
    cloud.start("emulator")
    outputs = deploy(cloud, "identity", POOL)
    pool, client = outputs["Pool"], outputs["Client"]
    cognito = cloud.client("cognito-idp")
    cognito.admin_create_user(UserPoolId=pool, Username="alice", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username="alice", Password="Secret-123", Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username="alice", GroupName="team-a")
    deployed = {"ApiId": "none", "UserPoolId": pool, "AlbDnsName": "127.0.0.1", "GatewayListenerPort": "1"}
    (cloud.home / "deployment.json").write_text(json.dumps(deployed))
    cloud.start("door")
    door = f"http://localhost:{cloud.ports['door']}{prefix}"

    # When: discovery, then the page, then the form, as a browser does it
    discovery = requests.get(f"{door}/{pool}/.well-known/openid-configuration", timeout=10).json()
    assert requests.get(f"{door}/{pool}/.well-known/jwks.json", timeout=10).json()["keys"]
    assert discovery["token_endpoint"] == f"{door}/oauth2/token"
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "client_id": client,
        "response_type": "code",
        "redirect_uri": "http://localhost:8080/",
        "scope": "openid email profile",
        "state": "xyz",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    page = requests.get(f"{door}/oauth2/authorize", params=query, timeout=10)
    assert "<form" in page.text
    assert requests.get(f"{door}/login", params=query, timeout=10).text.count("<form") == page.text.count(
        "<form"
    )
    action = unescape(re.search(r'<form[^>]*action="([^"]+)"', page.text)[1])
    assert action.startswith(prefix + "/")
    form = {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    }
    form |= {"username": "alice", "password": "Secret-123"}
    answer = requests.post(
        f"http://localhost:{cloud.ports['door']}{action}", data=form, allow_redirects=False, timeout=10
    )
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    tokens = requests.post(
        f"{door}/oauth2/token",
        data={
            "grant_type": "authorization_code",
            "client_id": client,
            "code": code,
            "redirect_uri": "http://localhost:8080/",
            "code_verifier": verifier,
        },
        timeout=10,
    ).json()
    refresh = {"grant_type": "refresh_token", "client_id": client, "refresh_token": tokens["refresh_token"]}
    refreshed = requests.post(f"{door}/oauth2/token", data=refresh, timeout=10)

    # Then
    for issued in (tokens, refreshed.json()):
        for kind in ("id_token", "access_token"):
            assert claims(issued[kind])["cognito:groups"] == ["team-a"]
    assert not [name for name in refreshed.headers if name.lower().startswith("access-control-")]
    # and nobody refreshes with another's client, or with nonsense
    for change in ({"client_id": "another"}, {"refresh_token": "nonsense"}):
        refused = requests.post(f"{door}/oauth2/token", data=refresh | change, timeout=10)
        assert (refused.status_code, "id_token" in refused.text) == (400, False)
    assert requests.get(f"{door}/us-east-1_other/.well-known/jwks.json", timeout=10).status_code == 404
