"""Time zones that a calendar defines (RFC 5545, 3.6.5)."""

from datetime import tzinfo
from functools import lru_cache
from typing import cast

from icalendar import Timezone

from app.jobs.formats.base import RowError

# Limits of the rules: each one is evaluated from its start. Real ones name a day of a month.
FREQUENCY = ["YEARLY"]
ALLOWED_PARTS = frozenset({"FREQ", "INTERVAL", "BYMONTH", "BYDAY", "BYMONTHDAY", "UNTIL", "COUNT"})
MAX_VALUES = {"BYMONTH": 1, "BYDAY": 1, "BYMONTHDAY": 7}
UNSUPPORTED = "The VTIMEZONE of this TZID can't be read, or has a rule that is not supported."


@lru_cache(maxsize=64)
def parse_zone(lines: tuple[str, ...]) -> tzinfo:
    """Return the zone that the content lines of a VTIMEZONE define. Raises RowError."""
    try:
        zone = cast("Timezone", Timezone.from_ical("\r\n".join([*lines, ""])))
        if not all(_is_supported(rule.get("RRULE")) for rule in zone.subcomponents):
            raise RowError(UNSUPPORTED, "time_zone")
        # With a look-up by name, the library would return a zone that another file has defined.
        definition: tzinfo = zone.to_tz(lookup_tzid=False)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise RowError(UNSUPPORTED, "time_zone") from None
    return definition


def _is_supported(rule: object) -> bool:
    if rule is None:
        return True
    if not isinstance(rule, dict) or rule.get("FREQ") != FREQUENCY:
        return False
    is_allowed = ALLOWED_PARTS.issuperset(rule)
    return is_allowed and all(
        len(rule.get(name, [])) <= limit for name, limit in MAX_VALUES.items()
    )
