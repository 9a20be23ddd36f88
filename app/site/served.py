"""What is made once and served to everyone."""

import hashlib
from dataclasses import dataclass
from typing import Self

from flask import Response

from app.http.answers import without_body
from app.http.conditional import not_modified


@dataclass(frozen=True)
class Served:
    """A body that does not change while the process runs, and its entity tag."""

    body: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Self:
        return cls(body, media_type, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')

    def answer(self) -> Response:
        """Return it, or 304 to who has it."""
        response = (
            without_body(304)
            if not_modified(self.tag)
            else Response(self.body, content_type=self.media_type)
        )
        response.headers["ETag"] = self.tag
        # Anyone may keep it, and asks whether it is current: a new release changes it.
        response.headers["Cache-Control"] = "public, no-cache"
        return response
