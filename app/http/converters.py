"""The parts of a path: ids. One that can't be any is nobody's, which is told behind the door."""

import re

from flask import Flask
from werkzeug.routing import BaseConverter

from app.database import BIGGEST_ID

ROW_ID = re.compile(r"[1-9][0-9]{0,18}")
TOKEN_ID = re.compile(r"[0-9a-f]{32}")


class RowIdConverter(BaseConverter):
    """A row's number, written one way only: another way it is 0, which no row has."""

    regex = r"[0-9]+"

    def to_python(self, value: str) -> int:
        number = int(value) if ROW_ID.fullmatch(value) else 0
        return number if number <= BIGGEST_ID else 0


class TokenIdConverter(BaseConverter):
    """An unguessable id, 32 hexadecimal digits: anything else is empty, which none is."""

    regex = r"[0-9A-Za-z_-]+"

    def to_python(self, value: str) -> str:
        return value if TOKEN_ID.fullmatch(value) else ""


def init_app(app: Flask) -> None:
    """Teach the router our converters; a path has one spelling and is never redirected."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"row_id": RowIdConverter, "token_id": TokenIdConverter}
