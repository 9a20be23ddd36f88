"""Fields of requests and responses, stricter than marshmallow's."""

import enum
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from marshmallow import fields, validate

from app.clock import time_zones

_DATETIME_RE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-5][0-9])"
)
_DATE_RE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER_RE = re.compile(r"-?(0|[1-9][0-9]{0,18})")

# Ranges of characters: white space as str.strip() has it, and others without a glyph, which are
# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt) and the blank Braille pattern.
WHITE = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)
_BLANK_RE = re.compile(
    rf"[{WHITE}{INVISIBLE}\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)


def parse_datetime(text: str) -> datetime:
    """Parse an RFC 3339 date-time into UTC, truncated to microseconds.

    Raises ValueError, also for one without an offset.
    """
    if not _DATETIME_RE.fullmatch(text):
        raise ValueError(text)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error


def format_datetime(value: datetime) -> str:
    """Return a time in UTC as RFC 3339, always with six digits of a second."""
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_date(text: str) -> date:
    """Parse a date, ``YYYY-MM-DD``. Raises ValueError."""
    if not _DATE_RE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


class String(fields.String):
    """A string that any database can store: without NUL and lone surrogates.

    With ``visible`` it must have a character with a glyph: a name must not look empty.
    """

    default_error_messages = {
        "type": "Must be a string.",
        "nul": "Must not contain NUL.",
        "surrogate": "Must not contain a lone surrogate.",
        "short": "Shorter than {min_length} characters.",
        "empty": "Must not be empty.",
        "long": "Longer than {max_length} characters.",
        "pattern": "Must be {pattern_name}.",
    }

    # Whether OpenAPI has a format instead of a pattern.
    has_format = False

    def __init__(
        self,
        *,
        min_length: int = 0,
        max_length: int,
        strip: bool = False,
        visible: bool = False,
        pattern: str | None = None,
        pattern_name: str = "",
        **kwargs: Any,
    ) -> None:
        lengths = {"minLength": min_length} if min_length else {}
        lengths["maxLength"] = max_length
        super().__init__(metadata=lengths | kwargs.pop("metadata", {}), **kwargs)
        self.min_length, self.max_length, self.strip = min_length, max_length, strip
        self.visible = visible
        self.pattern = re.compile(pattern) if pattern else None
        self.pattern_name = pattern_name

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("type")
        if "\0" in value:
            raise self.make_error("nul")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.make_error("surrogate") from None
        text = value.strip() if self.strip else value
        if len(text) < self.min_length:
            key = "short" if self.min_length > 1 else "empty"
            raise self.make_error(key, min_length=self.min_length)
        if self.visible and _BLANK_RE.fullmatch(text):
            raise self.make_error("empty")
        if len(text) > self.max_length:
            raise self.make_error("long", max_length=self.max_length)
        if self.pattern and not self.pattern.fullmatch(text):
            raise self.make_error("pattern", pattern_name=self.pattern_name)
        return text


class Enum(fields.String):
    """A member of an enumeration, as the string that clients send: its value, else its name."""

    def __init__(self, members: Iterable[enum.Enum], **kwargs: Any) -> None:
        choices = [
            member.value if isinstance(member.value, str) else member.name for member in members
        ]
        super().__init__(validate=validate.OneOf(choices), **kwargs)


class AwareDateTime(fields.AwareDateTime):
    """An RFC 3339 date-time, with an offset in requests, in UTC with ``Z`` in responses."""

    default_error_messages = {
        "invalid": "Must be an RFC 3339 date-time with an offset, such as 2030-01-31T09:00:00Z."
    }

    def _serialize(self, value: datetime | None, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else format_datetime(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        try:
            return parse_datetime(value)
        except (TypeError, ValueError):
            raise self.make_error("invalid") from None


class Date(fields.Date):
    """A calendar date, ``YYYY-MM-DD``."""

    default_error_messages = {"invalid": "Must be a date, such as 2030-01-31."}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> date:
        try:
            return parse_date(value)
        except (TypeError, ValueError):
            raise self.make_error("invalid") from None


class DateOrDateTime(fields.Field[date]):
    """A date or a date-time, for filters."""

    default_error_messages = {"invalid": "Must be a date or an RFC 3339 date-time with an offset."}

    def _deserialize(self, value: str, attr: Any, data: Any, **kwargs: Any) -> date | datetime:
        for parse in (parse_date, parse_datetime):
            try:
                return parse(value)
            except ValueError:
                continue
        raise self.make_error("invalid")


class TimeZone(fields.String):
    """The IANA name of a time zone."""

    default_error_messages = {"zone": "Must be an IANA time zone, such as Europe/Zurich."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"format": "time-zone"}, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or value not in time_zones():
            raise self.make_error("zone")
        return value


class QueryInteger(fields.Integer):
    """An integer of a query: ASCII digits only, no plus, spaces or underscores."""

    def __init__(self, *, minimum: int, maximum: int, **kwargs: Any) -> None:
        in_range = validate.Range(
            minimum, maximum, error="Must be at least {min} and at most {max}."
        )
        super().__init__(validate=in_range, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not _INTEGER_RE.fullmatch(value):
            raise self.make_error("invalid")
        return int(value)


class QueryBoolean(fields.Boolean):
    """``true`` or ``false`` in a query."""

    truthy = {"true"}
    falsy = {"false"}


class StrictBoolean(fields.Boolean):
    """JSON ``true`` or ``false``; marshmallow also accepts 1, "on" and others."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Sort(fields.String):
    """The sort key of a list, with ``-`` in front for descending order."""

    def __init__(self, keys: Iterable[str], **kwargs: Any) -> None:
        choices = [sign + key for key in keys for sign in ("", "-")]
        super().__init__(validate=validate.OneOf(choices), **kwargs)
