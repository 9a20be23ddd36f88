"""The parts of a path: ids that can't be anything but ids."""

from flask import Flask
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter

from app.database import BIGGEST_ID


class RowIdConverter(BaseConverter):
    """A row's number, written one way only: no sign, no leading zero, no other script's digits."""

    regex = r"[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number > BIGGEST_ID:
            raise NotFound  # after a ValidationError the router would answer 405 to some methods
        return number


class TokenIdConverter(BaseConverter):
    """An unguessable id: 32 hexadecimal digits."""

    regex = r"[0-9a-f]{32}"


def init_app(app: Flask) -> None:
    """Teach the router our converters; a path has one spelling and is never redirected."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"row_id": RowIdConverter, "token_id": TokenIdConverter}
