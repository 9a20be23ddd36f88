"""The list of tasks: its sorts and filters, and the parameters of the filters."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, bindparam, false, func, or_

from app.clock import time_zones
from app.db.pagination import KeysetPaginator
from app.tasks import permissions
from app.tasks.models import TASK_COLUMNS, TERMINAL_STATUSES, Task
from app.tasks.search import owner_words
from app.tasks.search_index import TaskMatches

_zone = func.coalesce(Task.time_zone, bindparam("actor_zone"))
# A day ends at a different instant in each zone, but there are never more than three dates.
_overdue = and_(
    Task.status.not_in(TERMINAL_STATUSES),
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

# The filters on timestamps, and whether a date means the end of the day.
MEANS_END_OF_DAY = {"created_after": True, "updated_since": False, "completed_since": False}

TASKS = KeysetPaginator(
    name="tasks",
    columns=TASK_COLUMNS,
    row_id=Task.id,
    scope=permissions.can_list,
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
        "q": TaskMatches(Task.id, Task.search_words, "q"),
    },
)


def filter_params(
    filters: Mapping[str, Any], owner_id: int, time_zone: str, now: datetime
) -> dict[str, Any]:
    """Return the parameters of the filters; dates are days in ``time_zone``."""
    params = dict(filters)
    if "q" in filters:
        params["q"] = owner_words(owner_id, filters["q"])
    if "due_before" in filters:
        day, instant = _bounds(filters["due_before"], time_zone)
        params |= {"before_day": day, "before_instant": instant}
    if "due_after" in filters:
        day, instant = _bounds(filters["due_after"], time_zone, end_of_day=True)
        params |= {"after_day": day, "after_instant": instant}
    for name in MEANS_END_OF_DAY.keys() & filters.keys():
        _, params[name] = _bounds(filters[name], time_zone, end_of_day=MEANS_END_OF_DAY[name])
    if "overdue" in filters:
        params |= {"now": now, "actor_zone": time_zone}
        params |= _dates_by_zone(now.replace(second=0, microsecond=0))
    return params


def _bounds(value: date, time_zone: str, *, end_of_day: bool = False) -> tuple[date, datetime]:
    """Return a date or an instant as both: the instant's date, or the date's first or last."""
    zone = ZoneInfo(time_zone)
    try:
        if isinstance(value, datetime):
            return value.astimezone(zone).date(), value
        if end_of_day:
            # Not at 23:59:59.999999, which exists twice where the last hour of a day repeats.
            next_day = datetime.combine(value + timedelta(days=1), time(), zone)
            return value, next_day.astimezone(UTC) - timedelta(microseconds=1)
        return value, datetime.combine(value, time(), zone).astimezone(UTC)
    except OverflowError:  # on the first and last day of the calendar
        if isinstance(value, datetime):
            return value.date(), value
        return value, datetime.combine(value, time.max if end_of_day else time.min, UTC)


@lru_cache(maxsize=8)
def _dates_by_zone(minute: datetime) -> dict[str, Any]:
    """Return the current dates on Earth, and the zones that have the second and the third."""
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
