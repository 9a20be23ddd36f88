"""Clients that create tasks and ask for exports while something fails, and note every answer."""

import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from threading import Event
from typing import Any, NamedTuple

import orjson
from server import Client

# So many exports a client asks for at most; an account may have 10 unfinished.
EXPORTS = 7
# For so many seconds a key is repeated at most, and a last success is waited for.
PATIENCE = 120
UNAVAILABLE, BROKEN = "503 with Retry-After", "broken connection"
IN_PROGRESS = "409 idempotency_in_progress"
PASSING = {UNAVAILABLE, BROKEN, IN_PROGRESS}


class Failure(NamedTuple):
    """An answer that is no success: what, when, and whether the same was asked before."""

    kind: str
    at: float
    again: bool


class Export(NamedTuple):
    """An export that was promised, with the tasks that it must have."""

    job_id: int
    titles: frozenset[str]


@dataclass
class Told:
    """What the clients of one account were told."""

    tasks: dict[int, str] = field(default_factory=dict)
    exports: list[Export] = field(default_factory=list)
    # Titles of which no answer told whether they were stored.
    unknown: set[str] = field(default_factory=set)


@dataclass
class Writer:
    """One client. Each other one sends keys, and repeats what failed until it is answered 2xx."""

    client: Client
    told: Told
    name: str
    thinks: float
    keyed: bool
    exports_every: float | None
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    longest: float = 0
    succeeded_at: float = 0

    def write(self, over: Event) -> None:
        """Create one task after another, and now and then ask for an export, until it is over.

        The last call is one that succeeds, if any does.
        """
        until = None
        next_export = time.monotonic() + (self.exports_every or 0)
        exports = 0
        for turn in count():
            began = time.monotonic()
            self._create(f"{self.name}.{turn}")
            if over.is_set():
                until = until or time.monotonic() + PATIENCE
                if self.succeeded_at > began or time.monotonic() > until:
                    return
            if self.exports_every and exports < EXPORTS and time.monotonic() >= next_export:
                self._ask_export(f"{self.name}.export.{exports}")
                exports += 1
                next_export += self.exports_every
            time.sleep(self.thinks)

    def _create(self, title: str) -> None:
        answer = self._ask("/tasks", {"title": title}, title if self.keyed else None)
        if answer is None:
            self.told.unknown.add(title)
        else:
            self.told.tasks[answer["id"]] = title

    def _ask_export(self, key: str) -> None:
        there = frozenset(list(self.told.tasks.values()))
        answer = self._ask("/exports", {"format": "json"}, key)
        if answer is not None:
            self.told.exports.append(Export(answer["id"], there))

    def _ask(self, path: str, body: Any, key: str | None) -> Any:
        """Return what was made, or None where no answer told of it; a key is asked again."""
        deadline = time.monotonic() + PATIENCE
        again = False
        while True:
            began = time.monotonic()
            kind, answer = self._call(path, body, key)
            now = time.monotonic()
            self.answers[kind] += 1
            self.longest = max(self.longest, now - began)
            if kind[0] == "2":
                self.succeeded_at = now
                return answer
            self.failures.append(Failure(kind, now, again))
            if key is None or kind not in PASSING or now > deadline:
                return None
            again = True
            time.sleep(self.thinks)

    def _call(self, path: str, body: Any, key: str | None) -> tuple[str, Any]:
        connection = self.client.connection
        headers = self.client.headers | ({"Idempotency-Key": key} if key else {})
        try:
            connection.request("POST", f"/api/v1{path}", orjson.dumps(body), headers)
            response = connection.getresponse()
            answer = orjson.loads(response.read())
        except (OSError, HTTPException):
            connection.close()  # the next request opens it anew
            return BROKEN, None
        if response.status < 300:
            return str(response.status), answer
        if response.status == 503 and int(response.headers.get("Retry-After", 0)) > 0:
            return UNAVAILABLE, answer
        return f"{response.status} {answer['code']}", answer
