"""The current time, in one place so that tests can set it, and the known time zones."""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import available_timezones


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@cache
def time_zones() -> frozenset[str]:
    """Return the IANA names of the time zones that this system knows."""
    return frozenset(available_timezones() - {"Factory", "localtime"})
