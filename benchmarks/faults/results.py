"""Comparison of what the server confirmed with what is stored after a fault."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.consistency import stored_tasks
from benchmarks.faults.installation import NAMES, Installation, text_of
from benchmarks.faults.writers import BROKEN, IN_PROGRESS, UNAVAILABLE, Confirmed, Export, Writer
from benchmarks.server import Client

# Seconds after the end of the outage in which errors are still allowed.
RECOVERY_SECONDS = 5
# Connections to a killed process break. All other faults may only cause a 503, and a 409 for a
# retry that meets its first attempt.
ALLOWED = {"worker": {UNAVAILABLE, BROKEN}}
# The figures that must be 0.
FAILURES = (
    "unexpected errors", "clients without success", "lost", "duplicated", "unexpected",
    "mails lost", "mails duplicated", "exports lost or incomplete", "exports duplicated",
    "work duplicated",
)  # fmt: skip


class Outage(NamedTuple):
    """The times at which a part was stopped and was back."""

    start: float
    end: float


def check_responses(writers: Sequence[Writer], outage: Outage, fault: str) -> dict[str, Any]:
    """Return the outcomes of all requests, and which of them were wrong."""
    outcomes = sum((writer.outcomes for writer in writers), Counter[str]())
    failures = [failure for writer in writers for failure in writer.failures]
    unexpected = [
        f"{failure.outcome}, {failure.at - outage.end:+.1f} s after the outage"
        for failure in failures
        if not (
            failure.outcome in ALLOWED.get(fault, {UNAVAILABLE})
            or (failure.outcome == IN_PROGRESS and failure.is_retry)
        )
        or not outage.start <= failure.at <= outage.end + RECOVERY_SECONDS
    ]
    last = max((failure.at for failure in failures), default=0)
    return {
        "outcomes": dict(sorted(outcomes.items())),
        "unexpected errors": len(unexpected),
        "examples of errors": sorted(set(unexpected))[:5],
        "clients without success": sum(writer.succeeded_at <= outage.end for writer in writers),
        "seconds of outage": round(outage.end - outage.start, 1),
        "seconds of errors after the outage": round(max(last - outage.end, 0), 1),
        "slowest response in ms": round(max(writer.slowest for writer in writers) * 1000),
    }


def check_tasks(
    installation: Installation, fault: str, confirmed: Mapping[str, Confirmed]
) -> dict[str, Any]:
    """Return whether every confirmed task is stored once and was mailed once."""
    rows: dict[int, str] = {}
    for name in NAMES:
        with installation.client(name) as client:
            tasks = stored_tasks(client)
            rows |= {key: title for key, title in tasks if title.startswith(f"{fault}-")}
    known = {key: title for record in confirmed.values() for key, title in record.tasks.items()}
    unknown = {title for record in confirmed.values() for title in record.unknown}
    titles = set(rows.values())
    mails: dict[int, list[str]] = defaultdict(list)
    for mail in installation.mailbox.received:
        for key in re.findall(r"/tasks/(\d+)$", text_of(mail), re.MULTILINE):
            mails[int(key)].append(mail["Message-ID"])
    return {
        "stored": len(rows),
        "lost": sum(rows.get(key) != title for key, title in known.items()),
        "duplicated": count_repeated(rows.values()),
        "unexpected": len(titles - set(known.values()) - unknown),
        "stored without a response": len(titles & unknown),
        "mails lost": sum(key not in mails for key in rows),
        "mails duplicated": sum(len(set(mails[key])) > 1 for key in rows),
        "mails delivered twice with one id": sum(count_repeated(mails[key]) for key in rows),
    }


def check_exports(installation: Installation, confirmed: Mapping[str, Confirmed]) -> dict[str, Any]:
    """Return whether every accepted export exists once and is complete."""
    errors: list[str] = []
    accepted = duplicated = 0
    for name, record in confirmed.items():
        with installation.client(name) as client:
            errors += [error for export in record.exports if (error := find_error(client, export))]
            _, page = client.call("GET", "/jobs?limit=200")
        job_ids = [export.job_id for export in record.exports]
        accepted += len(job_ids)
        listed = {job["id"] for job in page["data"] if job["id"] >= min(job_ids, default=0)}
        duplicated += count_repeated(job_ids) + len(listed - set(job_ids))
    return {
        "exports": accepted,
        "exports lost or incomplete": len(errors),
        "exports duplicated": duplicated,
        "errors of exports": sorted(set(errors))[:5],
    }


def find_error(client: Client, export: Export) -> str | None:
    """Return what is wrong with the result of an export, or None."""
    status, job = client.call("GET", f"/jobs/{export.job_id}")
    if status != 200 or job["state"] != "succeeded":
        return f"{status}: {job}"
    _, result = client.call("GET", f"/jobs/{export.job_id}/result")
    ids = [task["id"] for task in result["tasks"]]
    if len(set(ids)) != len(ids) or job["progress"] != {"done": len(ids), "total": len(ids)}:
        return "a task is contained twice, or not counted"
    missing = export.titles - {task["title"] for task in result["tasks"]}
    return f"{len(missing)} tasks are missing" if missing else None


def count_repeated(items: Iterable[Any]) -> int:
    """Return how many items are repetitions of an earlier one."""
    counts = Counter(items)
    return counts.total() - len(counts)
