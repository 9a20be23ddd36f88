"""Clients that create tasks and request exports while something fails, and record each response."""

import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from threading import Event
from typing import Any, NamedTuple

import orjson

from benchmarks.server import Client

# Exports that a client requests at most; a user may have 10 unfinished ones.
EXPORTS = 7
# For a retry with the same key, and for a last success after the fault.
TIMEOUT_SECONDS = 120
UNAVAILABLE, BROKEN = "503 with Retry-After", "broken connection"
IN_PROGRESS = "409 idempotency_in_progress"
RETRYABLE = {UNAVAILABLE, BROKEN, IN_PROGRESS}


class Failure(NamedTuple):
    """A response that is no success."""

    outcome: str
    at: float
    is_retry: bool


class Export(NamedTuple):
    """An accepted export, and the titles that its result must contain."""

    job_id: int
    titles: frozenset[str]


@dataclass
class Confirmed:
    """Tasks and exports that the server confirmed to the clients of one user."""

    tasks: dict[int, str] = field(default_factory=dict)
    exports: list[Export] = field(default_factory=list)
    # Titles whose create got no response: they may be stored or not.
    unknown: set[str] = field(default_factory=set)


@dataclass
class Writer:
    """One client. An idempotent one sends keys and retries each request until it succeeds."""

    client: Client
    confirmed: Confirmed
    name: str
    delay: float
    idempotent: bool
    export_interval: float | None
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slowest: float = 0
    succeeded_at: float = 0

    def write(self, done: Event) -> None:
        """Create tasks, and request an export now and then, until ``done``.

        The last request is a successful one, if any succeeds in time.
        """
        deadline = None
        next_export = time.monotonic() + (self.export_interval or 0)
        exports = 0
        for turn in count():
            start = time.monotonic()
            self._create(f"{self.name}.{turn}")
            if done.is_set():
                deadline = deadline or time.monotonic() + TIMEOUT_SECONDS
                if self.succeeded_at > start or time.monotonic() > deadline:
                    return
            if self.export_interval and exports < EXPORTS and time.monotonic() >= next_export:
                self._request_export(f"{self.name}.export.{exports}")
                exports += 1
                next_export += self.export_interval
            time.sleep(self.delay)

    def _create(self, title: str) -> None:
        task = self._post("/tasks", {"title": title}, title if self.idempotent else None)
        if task is None:
            self.confirmed.unknown.add(title)
        else:
            self.confirmed.tasks[task["id"]] = title

    def _request_export(self, key: str) -> None:
        # A list first: other clients of the user add to the dictionary meanwhile.
        titles = frozenset(list(self.confirmed.tasks.values()))
        job = self._post("/exports", {"format": "json"}, key)
        if job is not None:
            self.confirmed.exports.append(Export(job["id"], titles))

    def _post(self, path: str, body: Any, key: str | None) -> Any:
        """Return what was created, or None if there was no success; retry if there is a key."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        is_retry = False
        while True:
            start = time.monotonic()
            outcome, response = self._send(path, body, key)
            now = time.monotonic()
            self.outcomes[outcome] += 1
            self.slowest = max(self.slowest, now - start)
            if outcome.startswith("2"):
                self.succeeded_at = now
                return response
            self.failures.append(Failure(outcome, now, is_retry))
            if key is None or outcome not in RETRYABLE or now > deadline:
                return None
            is_retry = True
            time.sleep(self.delay)

    def _send(self, path: str, body: Any, key: str | None) -> tuple[str, Any]:
        connection = self.client.connection
        headers = self.client.headers | ({"Idempotency-Key": key} if key else {})
        try:
            connection.request("POST", f"/api/v1{path}", orjson.dumps(body), headers)
            response = connection.getresponse()
            content = orjson.loads(response.read())
        except (OSError, HTTPException):
            connection.close()  # the next request opens a new one
            return BROKEN, None
        if response.status < 300:
            return str(response.status), content
        if response.status == 503 and int(response.headers.get("Retry-After", 0)) > 0:
            return UNAVAILABLE, content
        return f"{response.status} {content['code']}", content
