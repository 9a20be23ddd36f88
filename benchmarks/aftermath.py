"""What became of what clients were told, after something failed while they wrote."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from installation import NAMES, Installation, text_of
from load import stored
from server import Client
from writers import BROKEN, IN_PROGRESS, UNAVAILABLE, Export, Told, Writer

# How long after the return of what was away errors may go on, in seconds.
GRACE = 5
# The connections of a process that was killed break; nothing else than that and 503 is allowed,
# but that who repeats a key may find the first request still running.
ALLOWED = {"worker": {UNAVAILABLE, BROKEN}}
# The figures that must be 0.
WRONG = (
    "wrongly answered", "never answered again", "lost", "doubled", "unasked", "mails lost",
    "mails doubled", "exports lost or torn", "exports doubled", "done twice",
)  # fmt: skip


class Away(NamedTuple):
    """When a part was taken away, and when it was back."""

    since: float
    until: float


def answers(writers: Sequence[Writer], away: Away, fault: str) -> dict[str, Any]:
    """Tell how calls were answered, and which answers were wrong."""
    counted = sum((writer.answers for writer in writers), Counter[str]())
    failures = [failure for writer in writers for failure in writer.failures]
    wrong = [
        f"{failure.kind}, {failure.at - away.until:+.1f} s after the return"
        for failure in failures
        if not (
            failure.kind in ALLOWED.get(fault, {UNAVAILABLE})
            or (failure.kind == IN_PROGRESS and failure.again)
        )
        or not away.since <= failure.at <= away.until + GRACE
    ]
    last = max((failure.at for failure in failures), default=0)
    return {
        "answers": dict(sorted(counted.items())),
        "wrongly answered": len(wrong),
        "such as": sorted(set(wrong))[:5],
        "never answered again": sum(writer.succeeded_at <= away.until for writer in writers),
        "seconds away": round(away.until - away.since, 1),
        "seconds of errors after the return": round(max(last - away.until, 0), 1),
        "longest answer in ms": round(max(writer.longest for writer in writers) * 1000),
    }


def tasks(made: Installation, fault: str, told: Mapping[str, Told]) -> dict[str, Any]:
    """Tell whether every task is stored once, and was mailed once."""
    rows: dict[int, str] = {}
    for name in NAMES:
        with made.client(name) as client:
            rows |= {key: title for key, title in stored(client) if title.startswith(f"{fault}-")}
    known = {key: title for one in told.values() for key, title in one.tasks.items()}
    unknown = {title for one in told.values() for title in one.unknown}
    unconfirmed = set(rows.values()) & unknown
    letters: dict[int, list[str]] = defaultdict(list)
    for mail in made.mailbox.received:
        for key in re.findall(r"/tasks/(\d+)$", text_of(mail), re.MULTILINE):
            letters[int(key)].append(mail["Message-ID"])
    return {
        "stored": len(rows),
        "lost": sum(rows.get(key) != title for key, title in known.items()),
        "doubled": repeated(rows.values()),
        "unasked": len(set(rows.values()) - set(known.values()) - unknown),
        "stored without an answer": len(unconfirmed),
        "mails lost": sum(key not in letters for key in rows),
        "mails doubled": sum(len(set(letters[key])) > 1 for key in rows),
        "mails that arrived twice as one": sum(repeated(letters[key]) for key in rows),
    }


def exports(made: Installation, told: Mapping[str, Told]) -> dict[str, Any]:
    """Tell whether every export that was promised is there, once, and whole."""
    bad: list[str] = []
    count = doubled = 0
    for name, one in told.items():
        with made.client(name) as client:
            bad += [fault for export in one.exports if (fault := fault_of(client, export))]
            _, page = client.call("GET", "/jobs?limit=200")
        promised = [export.job_id for export in one.exports]
        count += len(promised)
        there = {job["id"] for job in page["data"] if job["id"] >= min(promised, default=0)}
        doubled += repeated(promised) + len(there - set(promised))
    return {
        "exports": count,
        "exports lost or torn": len(bad),
        "exports doubled": doubled,
        "torn so": sorted(set(bad))[:5],
    }


def fault_of(client: Client, export: Export) -> str | None:
    """Return what is wrong with an export, or None."""
    status, job = client.call("GET", f"/jobs/{export.job_id}")
    if status != 200 or job["state"] != "succeeded":
        return f"answered {status}: {job}"
    _, result = client.call("GET", f"/jobs/{export.job_id}/result")
    ids = [task["id"] for task in result["tasks"]]
    if len(set(ids)) != len(ids) or job["progress"] != {"done": len(ids), "total": len(ids)}:
        return "a task is there twice, or not counted"
    missing = export.titles - {task["title"] for task in result["tasks"]}
    return f"{len(missing)} tasks are missing" if missing else None


def repeated(items: Iterable[Any]) -> int:
    """Return how many of these came again."""
    counted = Counter(items)
    return counted.total() - len(counted)
