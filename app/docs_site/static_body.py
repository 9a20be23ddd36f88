"""Response bodies that do not change while the process runs."""

import hashlib
from dataclasses import dataclass
from typing import Self

from flask import Response

from app.api.etags import if_none_match_contains, not_modified_response


@dataclass(frozen=True)
class StaticBody:
    """A body with its media type and entity tag."""

    body: bytes
    media_type: str
    etag: str

    @classmethod
    def create(cls, body: bytes, media_type: str) -> Self:
        return cls(body, media_type, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')

    def response(self) -> Response:
        """Return the body, or 304 if the client has it."""
        if if_none_match_contains(self.etag):
            response = not_modified_response(self.etag)
        else:
            response = Response(self.body, content_type=self.media_type)
            response.headers["ETag"] = self.etag
        # Caches must revalidate, because a new release may change it.
        response.headers["Cache-Control"] = "public, no-cache"
        return response
