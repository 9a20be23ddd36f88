"""Response bodies that do not change while the process runs."""

import hashlib

from flask import Response

from app.api.etags import if_none_match_contains, not_modified_response


class StaticBody:
    """A body with its media type and entity tag."""

    def __init__(self, body: bytes, media_type: str) -> None:
        self._body = body
        self._media_type = media_type
        self._etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'

    def response(self) -> Response:
        """Return the body, or 304 if the client has it."""
        if if_none_match_contains(self._etag):
            response = not_modified_response(self._etag)
        else:
            response = Response(self._body, content_type=self._media_type)
            response.headers["ETag"] = self._etag
        # Caches must revalidate, because a new release may change it.
        response.headers["Cache-Control"] = "public, no-cache"
        return response
