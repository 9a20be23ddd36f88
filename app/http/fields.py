"""The kinds of field that requests and answers are made of, stricter than marshmallow's own."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import marshmallow as ma
from marshmallow import fields

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-5][0-9])"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")


def read_instant(text: str) -> datetime:
    """Read an RFC 3339 instant into UTC, cut to microseconds.

    Raises ValueError, also for one without an offset.
    """
    if not _INSTANT.fullmatch(text):
        raise ValueError(text)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error


def read_date(text: str) -> date:
    """Read a calendar date, ``YYYY-MM-DD``. Raises ValueError."""
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


@cache
def time_zones() -> frozenset[str]:
    """The IANA names that are known here."""
    return frozenset(available_timezones() - {"Factory", "localtime"})


def _string(field: fields.Field[Any], value: Any) -> str:
    if not isinstance(value, str):
        raise field.make_error("type")
    if "\0" in value:
        raise field.make_error("nul")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise field.make_error("surrogate") from None
    return value


_STRING_ERRORS = {
    "type": "Must be a string.",
    "nul": "Must not contain NUL.",
    "surrogate": "Must not contain a lone surrogate.",
}


class Text(fields.String):
    """A string that any database can hold; ``trim`` takes white space off its ends."""

    default_error_messages = {
        **_STRING_ERRORS,
        "short": "Shorter than {least} characters.",
        "empty": "Must not be empty.",
        "long": "Longer than {most} characters.",
        "pattern": "Must be {pattern_name}.",
    }

    # Whether the document tells its form by a name instead of a pattern.
    pattern_is_a_format = False

    def __init__(
        self,
        *,
        least: int = 0,
        most: int,
        trim: bool = False,
        pattern: str | None = None,
        pattern_name: str = "",
        **kwargs: Any,
    ) -> None:
        lengths = {"minLength": least, "maxLength": most} if least else {"maxLength": most}
        super().__init__(metadata=lengths | kwargs.pop("metadata", {}), **kwargs)
        self.least, self.most, self.trim = least, most, trim
        self.pattern = re.compile(pattern) if pattern else None
        self.pattern_name = pattern_name

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = _string(self, value)
        if self.trim:
            text = text.strip()
        if len(text) < self.least:
            raise self.make_error("short" if self.least > 1 else "empty", least=self.least)
        if len(text) > self.most:
            raise self.make_error("long", most=self.most)
        if self.pattern and not self.pattern.fullmatch(text):
            raise self.make_error("pattern", pattern_name=self.pattern_name)
        return text


class OneOf(fields.String):
    """One word of an enumeration."""

    default_error_messages = {"choice": "Must be one of: {words}."}

    def __init__(self, words: type[Enum], **kwargs: Any) -> None:
        self.words = tuple(_word(member) for member in words)
        super().__init__(metadata={"enum": list(self.words)}, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise self.make_error("choice", words=", ".join(self.words))
        return value


def _word(member: Enum) -> str:
    return member.value if isinstance(member.value, str) else member.name


class SomeOf(OneOf):
    """Words of an enumeration, comma-separated, any of which will do: a filter."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        found = (super(SomeOf, self)._deserialize(word, attr, data) for word in value.split(","))
        return tuple(dict.fromkeys(found))


class Instant(fields.Field[datetime]):
    """An instant: RFC 3339, with an offset in, in UTC with a ``Z`` out."""

    default_error_messages = {
        "invalid": "Must be an RFC 3339 instant with an offset, such as 2030-01-31T09:00:00Z."
    }

    def _serialize(self, value: datetime | None, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.isoformat().replace("+00:00", "Z")

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        try:
            return read_instant(value)
        except (TypeError, ValueError):
            raise self.make_error("invalid") from None


class Day(fields.Field[date]):
    """A calendar date."""

    default_error_messages = {"invalid": "Must be a date, such as 2030-01-31."}

    def _serialize(self, value: date | None, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.isoformat()

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> date:
        try:
            return read_date(value)
        except (TypeError, ValueError):
            raise self.make_error("invalid") from None


class DayOrInstant(fields.Field[date]):
    """A calendar date or an instant: a filter."""

    default_error_messages = {"invalid": "Must be a date or an RFC 3339 instant with an offset."}

    def _deserialize(self, value: str, attr: Any, data: Any, **kwargs: Any) -> date | datetime:
        for read in (read_date, read_instant):
            try:
                return read(value)
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


class Whole(fields.Integer):
    """A whole number written as one in a query: no sign but a minus, no space, no underscore."""

    default_error_messages = {"range": "Must be at least {least} and at most {most}."}

    def __init__(self, *, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(metadata={"minimum": least, "maximum": most}, **kwargs)
        self.least, self.most = least, most

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not _WHOLE.fullmatch(value):
            raise self.make_error("invalid")
        if not self.least <= int(value) <= self.most:
            raise self.make_error("range", least=self.least, most=self.most)
        return int(value)


class Switch(fields.Boolean):
    """``true`` or ``false`` in a query, and nothing else."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid")
        return bool(value == "true")


class TrueOrFalse(fields.Boolean):
    """JSON's ``true`` or ``false``, and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Sort(fields.String):
    """The order of a list: one of ``keys``, with a minus in front for descending."""

    default_error_messages = {"choice": "Must be one of: {keys}; with - in front for descending."}

    def __init__(self, keys: Iterable[str], **kwargs: Any) -> None:
        self.keys = tuple(keys)
        both = [sign + key for key in self.keys for sign in ("", "-")]
        super().__init__(metadata={"enum": both}, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if value.removeprefix("-") not in self.keys:
            raise self.make_error("choice", keys=", ".join(self.keys))
        return str(value)


def at_most_one(data: Any, *names: str) -> None:
    """Raise ma.ValidationError where more than one of the named fields has a value."""
    given = [name for name in names if data.get(name) is not None]
    if len(given) > 1:
        raise ma.ValidationError(
            {name: [f"Not together with {' and '.join({*given} - {name})}."] for name in given}
        )
