"""Forged JWTs with arbitrary parts and signing keys."""

import base64
import hmac
import json
from typing import Any

from tests.conftest import SECRET

OTHER = "the secret of some other installation or attacker"
Part = dict[str, Any] | bytes


def encode(part: Part) -> bytes:
    """Encode a part of a token; bytes are used unchanged."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def decode(part: str) -> dict[str, Any]:
    """Decode a part of a token."""
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def header_of(token: str) -> dict[str, Any]:
    return decode(token.split(".", maxsplit=1)[0])


def claims_of(token: str) -> dict[str, Any]:
    return decode(token.split(".")[1])


def sign(header: Part, claims: Part, key: str = SECRET, digest: str = "sha256") -> str:
    """Return a signed token; ``header`` may claim another algorithm."""
    text = encode(header) + b"." + encode(claims)
    return (text + b"." + encode(hmac.digest(key.encode(), text, digest))).decode()
