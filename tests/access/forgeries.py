"""Tokens that must be refused, each wrong in one respect only, made with the issuer's own key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Forge:
    """The issuer's signing key and the claims of a token that is good in every respect: an administrator's."""

    key: rsa.RSAPrivateKey
    kid: str
    claims: dict[str, Any]

    def sign(self, key: rsa.RSAPrivateKey | None = None, kid: str | None = None, **changes: Any) -> str:
        """A token with these claims changed; None leaves a claim out."""
        claims = {name: value for name, value in (self.claims | changes).items() if value is not None}
        return jwt.encode(claims, key or self.key, algorithm="RS256", headers={"kid": kid or self.kid})

    def unsigned(self, algorithm: str = "none") -> str:
        return f"{_part({'alg': algorithm, 'typ': 'JWT', 'kid': self.kid})}.{_part(self.claims)}."

    def hmac_with_the_public_key(self, algorithm: str = "HS256") -> str:
        """RFC 8725, 2.1: a verifier that goes by the token's `alg` would take the public key for a shared secret."""
        secret = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signed = f"{_part({'alg': algorithm, 'typ': 'JWT', 'kid': self.kid})}.{_part(self.claims)}"
        return f"{signed}.{_base64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    def tampered(self) -> str:
        """The signature of one token under the claims of another."""
        head, _, signature = self.sign(**{"cognito:groups": ["user"]}).split(".")
        return f"{head}.{_part(self.claims)}.{signature}"

    def forgeries(self) -> dict[str, str]:
        now = self.claims["iat"]
        return {
            "malformed": "nonsense",
            "three parts of nothing": "a.b.c",
            "expired": self.sign(iat=now - 7200, exp=now - 3600),
            "not yet valid": self.sign(nbf=now + 3600),
            "from the future": self.sign(iat=now + 3600, exp=now + 7200),
            "without expiry": self.sign(exp=None),
            "wrong issuer": self.sign(iss=self.claims["iss"] + "x"),
            "wrong audience": self.sign(aud="another-client"),
            "without audience": self.sign(aud=None),
            "for another use": self.sign(token_use="refresh"),
            "alg none": self.unsigned(),
            "alg None": self.unsigned("None"),
            "HS256 signed with the public key": self.hmac_with_the_public_key(),
            "a stranger's key under the right name": self.sign(key=STRANGER),
            "an unknown key": self.sign(key=STRANGER, kid="unknown"),
            "claims of another token": self.tampered(),
        }


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token that is known to be good."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _part(part: dict[str, Any]) -> str:
    return _base64(json.dumps(part).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
