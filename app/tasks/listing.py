"""The list of tasks: its sorts, its filters, and what the words of a filter mean."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, bindparam, false, func, or_

from app.http.fields import time_zones
from app.http.searching import Search, SearchedListing
from app.tasks import policy
from app.tasks.matching import holds, is_among, is_found
from app.tasks.models import CLOSED, Task
from app.tasks.schemas import TASK

_zone = func.coalesce(Task.time_zone, bindparam("actor_zone"))
# A day is over at another instant in each zone, but the world's clocks show three dates at most.
_overdue = and_(
    Task.status.not_in(CLOSED),
    or_(
        Task.due_at < bindparam("now"),
        Task.due_date < bindparam("first_day"),
        and_(
            Task.due_date < bindparam("second_day"),
            _zone.in_(bindparam("second_day_zones", expanding=True)),
        ),
        and_(
            Task.due_date < bindparam("third_day"),
            _zone.in_(bindparam("third_day_zones", expanding=True)),
        ),
    ),
)

# Which end of a day a filter over instants means.
EDGES = {"created_after": time.max, "updated_since": time.min, "completed_since": time.min}

TASKS = SearchedListing(
    name="tasks",
    schema=TASK,
    row_id=Task.id,
    scope=policy.LISTED,
    sorts={
        "created_at": Task.created_at,
        "updated_at": Task.updated_at,
        "due": Task.due_key,
        "priority": Task.priority,
        "title": Task.title_key,
        "position": Task.position,
    },
    filters={
        "status": Task.status.in_(bindparam("status", expanding=True)),
        "priority": Task.priority.in_(bindparam("priority", expanding=True)),
        "due_before": or_(
            Task.due_date < bindparam("before_day"), Task.due_at < bindparam("before_instant")
        ),
        "due_after": or_(
            Task.due_date > bindparam("after_day"), Task.due_at > bindparam("after_instant")
        ),
        "created_after": Task.created_at > bindparam("created_after"),
        "updated_since": Task.updated_at >= bindparam("updated_since"),
        "completed_since": Task.completed_at >= bindparam("completed_since"),
        "has_due": Task.due_key.is_not(None) == bindparam("has_due"),
        "overdue": func.coalesce(_overdue, false()) == bindparam("overdue"),
    },
    search=Search(holds=holds, is_found=is_found, is_among=is_among),
)


def filter_values(asked: Mapping[str, Any], time_zone: str, now: datetime) -> dict[str, Any]:
    """Return the values of the filters that were asked for; days are those of ``time_zone``."""
    values = {name: value for name, value in asked.items() if not name.startswith("due_")}
    zone = ZoneInfo(time_zone)
    if "due_before" in asked:
        day, instant = _bounds(asked["due_before"], time.min, zone)
        values |= {"before_day": day, "before_instant": instant}
    if "due_after" in asked:
        day, instant = _bounds(asked["due_after"], time.max, zone)
        values |= {"after_day": day, "after_instant": instant}
    for name, edge in EDGES.items():
        if name in asked:
            _, values[name] = _bounds(asked[name], edge, zone)
    if "overdue" in asked:
        values |= {"now": now, "actor_zone": time_zone}
        values |= _days(now.replace(second=0, microsecond=0))
    return values


def _bounds(value: date, edge: time, zone: ZoneInfo) -> tuple[date, datetime]:
    """Return a day or an instant as both: the instant's day, or the day's ``edge``, in ``zone``."""
    try:
        if isinstance(value, datetime):
            return value.astimezone(zone).date(), value
        return value, datetime.combine(value, edge, zone).astimezone(UTC)
    except OverflowError:  # on the calendar's first and last day
        if isinstance(value, datetime):
            return value.date(), value
        return value, datetime.combine(value, edge, UTC)


@lru_cache(maxsize=8)
def _days(minute: datetime) -> dict[str, Any]:
    """Return the dates that clocks show in this minute, and which zones are past the first."""
    zones: dict[date, list[str]] = {}
    for name in sorted(time_zones()):
        zones.setdefault(minute.astimezone(ZoneInfo(name)).date(), []).append(name)
    first, second, third, *_ = [*sorted(zones), date.min, date.min]
    return {
        "first_day": first,
        "second_day": second,
        "second_day_zones": zones.get(second, []),
        "third_day": third,
        "third_day_zones": zones.get(third, []),
    }
