"""Names of time zones, as other tools write them."""

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from app.clock import time_zones
from app.jobs.formats.base import RowError

# America/Argentina/Buenos_Aires
MAX_PARTS = 3


def iana_name(name: str) -> str | None:
    """Return the IANA name of a zone, which may have a prefix or be a Windows name, or None."""
    name = WINDOWS_TO_OLSON.get(name, name)
    if name in time_zones():
        return name
    parts = name.split("/")
    # Only a globally unique name (RFC 5545, 3.8.3.1) may end with a zone of one part, such as UTC.
    shortest = 1 if name.startswith("/") else 2
    for length in range(MAX_PARTS, shortest - 1, -1):
        if (candidate := "/".join(parts[-length:])) in time_zones():
            return candidate
    return None


def require_zone(name: str) -> str:
    """Return the IANA name of a zone. Raises RowError if it is unknown."""
    if (zone := iana_name(name)) is None:
        raise RowError("This time zone is unknown.", "time_zone")
    return zone
