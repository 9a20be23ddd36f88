"""Imports of damaged files: none may end in a server error, or in a job without an outcome.

    pipenv run python -m benchmarks.fuzz_imports --files 2000
    pipenv run python -m benchmarks.fuzz_imports --files 200 --format icalendar --seed 7

For each format, valid files are mutated and imported through the API, with a dry run before. The
script prints the outcomes and exits with 1 if one is an error; ``--seed`` repeats a run.
"""

import argparse
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from flask.testing import FlaskClient

from app import create_app
from app.extensions import db
from app.jobs.formats import READERS
from app.outbox import dispatcher

API = "/api/v1"
USER = {"username": "fuzz", "password": "correct horse battery"}
ERRORS = frozenset({"server error", "no outcome", "internal error", "dry run differs"})

TASKWARRIOR = (
    '[{"id":1,"description":"Pay rent","due":"20300131T230000Z","priority":"H","status":"pending",'
    '"annotations":[{"entry":"20300101T100000Z","description":"b"}],"uuid":"1","tags":["x"]},\n'
    '{"uuid":"2","description":"b","status":"deleted"}]\n'
)
ICALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VTIMEZONE
TZID:Home
BEGIN:STANDARD
DTSTART:16010101T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VTODO
UID:1
SUMMARY:Zürich\\, Genève
DUE;X-A="b;c";TZID=Home:20300715T090000
PRIORITY:1
RRULE:FREQ=DAILY
END:VTODO
BEGIN:VEVENT
SUMMARY:Party
 folded
END:VEVENT
BEGIN:VTODO
SUMMARY:b
DUE;TZID=/x.org/America/Argentina/Buenos_Aires:20300715T090000
PERCENT-COMPLETE:50
BEGIN:VALARM
TRIGGER:-PT5M
END:VALARM
END:VTODO
END:VCALENDAR
"""
FILES = {
    "json": '{"tasks":[{"title":"Zürich","due_at":"2030-01-31T09:00:00Z","id":7},\n{"title":"b"}]}',
    "csv": 'title,description,due_date\r\nZürich,"a ""b""\r\nc",2030-01-31\r\nb,,\r\n',
    "icalendar": ICALENDAR,
    "todoist": (
        "TYPE,CONTENT,DESCRIPTION,PRIORITY,DATE,TIMEZONE,INDENT\nsection,Zürich,,,,,\n"
        "task,a,b,1,2030-01-31 09:00,Europe/Berlin,1\nnote,c,,,,,\ntask,d,,4,Jan 31 2030,,2\n"
    ),
    "ticktick": (
        '"Date: 2030-01-01+0000"\n"Version: 7.1"\n"Status: \n0 Normal"\n'
        '"List Name","Title","Kind","Content","Due Date","Priority","Status","Timezone",'
        '"Is All Day"\n'
        '"Home","Zürich","TEXT","b","2030-01-30T23:00:00+0000","3","0","Europe/Berlin","true"\n'
        '"Home","b","NOTE","","","0","2","",""\n'
    ),
    "taskwarrior": TASKWARRIOR,
    "google_tasks": (
        '{"kind":"tasks#taskLists","items":[{"kind":"tasks#tasks","title":"Zürich","items":'
        '[{"id":"a","title":"b","status":"needsAction","due":"2030-01-31T00:00:00Z"}]}]}'
    ),
    "microsoft_todo": (
        '{"@odata.context":"x","value":[{"title":"Zürich","importance":"high","status":"completed",'
        '"body":{"content":"b"},"dueDateTime":{"dateTime":"2030-01-31T09:00:00.0000000",'
        '"timeZone":"Tokyo Standard Time"},"categories":["c"]}]}'
    ),
    "trello": (
        '{"id":"1","idOrganization":"2","actions":[{"type":"x","data":{"y":[1,2]}}],"cards":'
        '[{"name":"Zürich","desc":"b","due":"2030-01-31T09:00:00.000Z","dueComplete":true,'
        '"labels":[{"name":"c"}],"pos":1.5},{"name":"d","closed":true}],"lists":[]}'
    ),
    "vikunja": (
        '[{"id":1,"title":"Zürich","tasks":[{"title":"b","done":true,"priority":5,'
        '"due_date":"2030-01-31T10:00:00+01:00","created":"0001-01-01T00:00:00Z"}],"views":[]},'
        '{"id":2,"tasks":null}]'
    ),
}
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")
# What often breaks parsers.
TOKENS = (
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n", b"\r\n "),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"[", b"]", b"{", b"}", b"[" * 40, b'{"a":' * 40),
    *(b",", b":", b";", b"null", b"true", b"-1", b"1e999", b"9" * 400, b"NaN", b"''", b'""'),
    *(b"0001-01-01", b"9999-12-31T23:59:59+23:59", b"00010101T000000", b"99991231T235959Z"),
    *(b"20300230", b"FREQ=SECONDLY", b"BYMONTH=13", b"COUNT=9999999", b"+2400", b"-0000", b"Z"),
    *(b"TZID=", b"VALUE=DATE;", b"VALUE=PERIOD;", b"BEGIN:VTODO", b"END:VTODO", b"BEGIN:VCALENDAR"),
    *(b"a" * 5000, "\u200b".encode(), "\u2028".encode(), "😀".encode(), b"=1+1", b"../../x"),
)


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Return a file with some random changes."""
    changes: tuple[Callable[[bytearray, random.Random], None], ...] = (
        _flip, _delete, _insert, _insert, _insert, _repeat, _truncate, _swap,
    )  # fmt: skip
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(changes)(data, rng)
    return bytes(data)


def _span(data: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(data) + 1)
    return slice(start, min(len(data), start + rng.choice((1, 2, 5, 20, 100))))


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _delete(data: bytearray, rng: random.Random) -> None:
    del data[_span(data, rng)]


def _insert(data: bytearray, rng: random.Random) -> None:
    position = rng.randrange(len(data) + 1)
    data[position:position] = rng.choice(TOKENS)


def _repeat(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    data[span] = data[span] * rng.choice((2, 3, 50))


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _swap(data: bytearray, rng: random.Random) -> None:
    first, second = _span(data, rng), _span(data, rng)
    part = data[first]
    data[first] = data[second]
    data[second] = part


class Importer:
    """Imports files and classifies what comes of each."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client
        client.post(f"{API}/auth/register", json={**USER, "email": "fuzz@example.com"})
        token = client.post(f"{API}/auth/login", json=USER).get_json()["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    def outcome(self, name: str, content: bytes) -> str:
        """Return the outcome of an import, and check it against that of its dry run."""
        path = f"{API}/imports?format={name}"
        tried = self._send("POST", f"{path}&dry_run=true", content)
        created = self._send("POST", path, content)
        if max(tried.status_code, created.status_code) >= 500 or created.status_code != 202:
            return "server error"
        while dispatcher.dispatch_next():
            pass
        job = self._send("GET", f"{API}/jobs/{created.json['id']}").json
        if job["state"] not in {"succeeded", "failed"}:
            return "no outcome"
        if job["problem"] and job["problem"]["code"] == "internal_error":
            return "internal error"
        return job["state"] if self._agrees(job, tried) else "dry run differs"

    def _agrees(self, job: Any, tried: Any) -> bool:
        if job["state"] == "failed":
            return bool(tried.status_code == job["problem"]["status"])
        report = self._send("GET", f"{API}/jobs/{job['id']}/result").json
        return all(tried.json[name] == report[name] for name in ("created", "refused", "skipped"))

    def _send(self, method: str, path: str, content: bytes | None = None) -> Any:
        return self._client.open(
            path, method=method, data=content, content_type="text/csv", headers=self._headers
        )


@contextmanager
def importer() -> Iterator[Importer]:
    """Yield an importer with a new database."""
    with TemporaryDirectory() as folder:
        app = create_app(
            {
                "TESTING": True,
                "PROPAGATE_EXCEPTIONS": False,
                "DATABASE_URL": f"sqlite:///{folder}/fuzz.db",
                "INSTANCE_PATH": folder,
                "RATELIMIT_ENABLED": False,
                "MAIL_BACKEND": "dummy",
            }
        )
        with app.app_context():
            db.create_all()
            yield Importer(app.test_client())
            db.session.remove()
            db.engine.dispose()


def run(name: str, count: int, seed: int) -> Counter[str]:
    """Import ``count`` mutated files of a format, and return the number of each outcome."""
    rng = random.Random(f"{seed} {name}")
    outcomes: Counter[str] = Counter()
    with importer() as target:
        for number in range(count):
            content = mutate(FILES[name].encode(rng.choice(ENCODINGS)), rng)
            outcome = target.outcome(name, content)
            outcomes[outcome] += 1
            if outcome in ERRORS:
                print(f"{name} {number}: {outcome}: {content!r}")
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="files of each format")
    parser.add_argument("--format", choices=READERS, action="append", help="only this format")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    total: Counter[str] = Counter()
    for name in args.format or READERS:
        outcomes = run(name, args.files, args.seed)
        total += outcomes
        print(f"{name}: {dict(outcomes)}", flush=True)
    print(f"all: {dict(total)}")
    sys.exit(any(total[error] for error in ERRORS))


if __name__ == "__main__":
    main()
