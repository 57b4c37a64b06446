"""An issuer of tokens: its keys, its documents, its clock."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lisa.identity import IdentitySettings, TokenVerifier
from lisa.identity.keys import KeySet
from lisa.identity.tokens import TokenCache

CLIENT = "client-123"
COGNITO = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_pool"


@dataclass
class Clock:
    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


def public_jwk(private: Any, kid: str, **extra: Any) -> dict[str, Any]:
    algorithm = (
        jwt.algorithms.RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(private.public_key())), "kid": kid, "use": "sig", **extra}


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass
class Issuer:
    """Answers what an issuer's web server would, and counts the questions."""

    url: str = COGNITO
    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [
            public_jwk(RSA_KEY, "rsa-1", alg="RS256"),
            public_jwk(EC_KEY, "ec-1", alg="ES256"),
        ]
    )
    asked: list[str] = field(default_factory=list)
    down: bool = False

    def fetch(self, url: str) -> Any:
        self.asked.append(url)
        if self.down:
            raise OSError("connection refused")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": self.url, "jwks_uri": self.url + "/keys"}
        return {"keys": self.keys}

    def sign(
        self,
        claims: dict[str, Any],
        *,
        key: Any = RSA_KEY,
        kid: str | None = "rsa-1",
        alg: str = "RS256",
        **header: Any,
    ) -> str:
        headers = {**({"kid": kid} if kid is not None else {}), **header}
        return jwt.encode(claims, key, algorithm=alg, headers=headers)

    def id_claims(self, **changes: Any) -> dict[str, Any]:
        now = time.time()
        claims = {
            "iss": self.url,
            "sub": "sub-alice",
            "aud": CLIENT,
            "token_use": "id",
            "iat": now,
            "exp": now + 3600,
            "cognito:username": "alice",
            "cognito:groups": ["user", "team-a"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def access_claims(self, **changes: Any) -> dict[str, Any]:
        now = time.time()
        claims = {
            "iss": self.url,
            "sub": "sub-alice",
            "client_id": CLIENT,
            "token_use": "access",
            "iat": now,
            "exp": now + 3600,
            "username": "alice",
            "cognito:groups": ["user"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def verifier(
        self, clock: Clock | None = None, cache: TokenCache | None = None, **settings: Any
    ) -> TokenVerifier:
        clock = clock or Clock()
        options = {"issuer": self.url, "client_id": CLIENT, **settings}
        return TokenVerifier(
            IdentitySettings(**options),
            keys=KeySet(self.url, fetch=self.fetch, clock=clock),
            cache=cache,
            clock=clock,
            parameters=lambda name: f"value of {name}",
        )
