"""URL converters for ids.

A malformed id must be 404 only after authentication, like an unknown id. If a converter rejected
it, the router would answer 404 to clients without a token as well. So the converters accept it and
return an id that no resource has: 0, or an empty string.
"""

import re

from flask import Flask
from werkzeug.routing import BaseConverter

from app.db.types import MAX_ID

ROW_ID = re.compile(r"[1-9][0-9]{0,18}")
TOKEN_ID = re.compile(r"[0-9a-f]{32}")


class RowIdConverter(BaseConverter):
    """An integer id without leading zeros, at most MAX_ID; otherwise 0."""

    regex = r"[0-9]+"

    def to_python(self, value: str) -> int:
        number = int(value) if ROW_ID.fullmatch(value) else 0
        return number if number <= MAX_ID else 0


class TokenIdConverter(BaseConverter):
    """A random id of 32 hexadecimal digits; otherwise an empty string."""

    regex = r"[0-9A-Za-z_-]+"

    def to_python(self, value: str) -> str:
        return value if TOKEN_ID.fullmatch(value) else ""


def init_app(app: Flask) -> None:
    """Add the converters, and match URLs strictly: no redirects, which would drop a POST body."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"row_id": RowIdConverter, "token_id": TokenIdConverter}
