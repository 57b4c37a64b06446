"""What an API token looks like: `lisa_`, 43 characters that hold 256 random bits, 6 that check them.

The prefix lets scanners of source code find a leaked token; the checksum tells a typing error from a token without
asking anybody. It is no secret: whoever knows this file can make a well-formed token, which nobody has issued.
"""

import secrets
import string
import zlib

PREFIX = "lisa_"
RANDOM_BYTES = 32
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY_LENGTH = 43  # 62**43 > 2**256
_CHECK_LENGTH = 6  # 62**6 > 2**32
LENGTH = len(PREFIX) + _BODY_LENGTH + _CHECK_LENGTH


def new_token() -> str:
    """A token that nobody has had before."""
    body = _base62(int.from_bytes(secrets.token_bytes(RANDOM_BYTES)), _BODY_LENGTH)
    return PREFIX + body + _checksum(body)


def is_api_token(token: str) -> bool:
    """Whether it claims to be one of ours, well formed or not; a JSON Web Token never does."""
    return token.startswith(PREFIX)


def is_well_formed(token: str) -> bool:
    """Whether its length and checksum are right."""
    if len(token) != LENGTH or not token.startswith(PREFIX):
        return False
    body = token[len(PREFIX) : -_CHECK_LENGTH]
    return token.isascii() and token[-_CHECK_LENGTH:] == _checksum(body)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
