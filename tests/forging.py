"""Tokens that were never issued, made of any parts and signed with any key."""

import base64
import hmac
import json
from typing import Any

from tests.conftest import SECRET

OTHER = "the secret of some other installation or thief"
Part = dict[str, Any] | bytes


def encode(part: Part) -> bytes:
    """Return a part of a token; bytes go in as they are."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def decode(part: str) -> dict[str, Any]:
    """Return what a part of a token says."""
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def header_of(token: str) -> dict[str, Any]:
    return decode(token.split(".", maxsplit=1)[0])


def claims_of(token: str) -> dict[str, Any]:
    return decode(token.split(".")[1])


def sign(header: Part, claims: Part, key: str = SECRET, digest: str = "sha256") -> str:
    """Return a token of ``header`` and ``claims``, whatever they say of how it is signed."""
    text = encode(header) + b"." + encode(claims)
    return (text + b"." + encode(hmac.digest(key.encode(), text, digest))).decode()
