"""The servers that ours is measured beside answer as ours does; the measuring itself works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import datetime
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"
POSTGRES = os.environ.get("TEST_DATABASE_URL")
PEERS = ("tutorial", "fastapi_sqlmodel", "drf")
TIMES = ("created_at", "updated_at", "completed_at")
NEW = {
    "title": "Write the report",
    "priority": "high",
    "due_at": "2030-01-31T10:00:00+01:00",
    "time_zone": "Europe/Zurich",
}
UNACCEPTABLE = (
    {"title": ""},
    {"title": "x" * 151},
    {"title": 7, "due_date": "soon"},
    {"title": "Write", "description": "x" * 20_001},
    {"title": "Write", "status": "done"},
    {"title": "Write", "priority": "utmost"},
    {"title": "Write", "due_date": "2030-01-31", "due_at": "2030-01-31T10:00:00Z"},
    {"title": "Write", "time_zone": "Mars/Olympus"},
    {"title": "Write", "position": "a b"},
)
SORTS = ("created_at", "-created_at", "priority", "-priority")

pytestmark = pytest.mark.skipif(
    not shutil.which("pipenv") and "NO_SKIPS" not in os.environ,
    reason="pipenv installs the peers",
)


class Asked:
    """One server, asked by one account; what it answers is freed of its address."""

    def __init__(self, server, exchange, sent):
        self.port, self._exchange, self._sent = server.port, exchange, sent
        self.token = None

    def __call__(self, method, path, body=None):
        raw = self._sent(method, f"/api/v1{path}", body).raw(self.token)
        status, _, told = self._exchange(self.port, raw)
        return status, self._plain(told)

    def log_in(self, name, password):
        self.token = None
        status, body = self("POST", "/auth/login", {"username": name, "password": password})
        if status == 200:
            assert body["token_type"].lower() == "bearer"
            self.token = body["access_token"]
        return status

    def _plain(self, value, key=""):
        if isinstance(value, dict):
            return {name: self._plain(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        if isinstance(value, str) and key.endswith("_at"):
            return datetime.fromisoformat(value)
        if isinstance(value, str):
            return value.replace(f"http://127.0.0.1:{self.port}", "")
        return value


def without_times(answer):
    status, body = answer
    return status, {name: value for name, value in body.items() if name not in TIMES}


def without_cursor(answer):
    status, body = answer
    return status, body["data"], body["next_cursor"] is not None


def reads(ask):
    """Return what a server answers to every read."""
    assert ask.log_in("user1", "wrong horse battery") == 401
    assert ask.log_in("user2", "correct horse battery") == 200
    found = [ask("GET", "/tasks/2"), ask("GET", "/tasks/1")[0], ask("GET", "/tasks/999")[0]]
    [_, first] = ask("GET", "/tasks?limit=50")
    # Peers find words anywhere, ours by their beginnings: these are nowhere else.
    queries = (
        "",
        f"&cursor={first['next_cursor']}",
        "&status=pending&sort=-priority",
        *(f"&sort={sort}" for sort in SORTS),
        *(f"&q={words}" for words in ("report", "REPO", "tap%20call", "nowhere")),
    )
    return found + [without_cursor(ask("GET", f"/tasks?limit=50{query}")) for query in queries]


def writes(ask):
    """Return what a server answers to every write."""
    ask.log_in("user1", "correct horse battery")
    created = ask("POST", "/tasks", NEW)
    task = f"/tasks/{created[1]['id']}"
    completed = ask("PATCH", task, {"status": "completed"})
    assert completed[1]["completed_at"] == completed[1]["updated_at"] > created[1]["created_at"]
    assert created[1]["created_at"] == created[1]["updated_at"]
    reopened = ask("PATCH", task, {"status": "in_progress", "due_date": "2030-02-01"})
    assert reopened[1]["completed_at"] is None
    refused = [ask("POST", "/tasks", body)[0] in {400, 422} for body in UNACCEPTABLE]
    refused += [ask("PATCH", task, {"title": ""})[0] in {400, 422}]
    refused += [ask("PATCH", "/tasks/2", {"title": "Not mine"})[0] == 404]
    assert ask("GET", task) == reopened
    return [*map(without_times, (created, completed, reopened)), refused]


def walls(ask):
    """Return how a server answers whoever has no token, a revoked one, or none of its own."""
    ask.log_in("user1", "correct horse battery")
    good = ask.token
    found = [ask("GET", "/tasks/1")[0], ask("POST", "/auth/logout")[0]]
    for ask.token in (good, None):
        found += tried(ask)
    for ask.token in (good[:-4] + "AAAA", "nonsense"):
        # Flask-JWT-Extended takes these for mistakes of form.
        found += [status in {401, 422} for status in tried(ask)]
    return found


def tried(ask):
    calls = (
        ("GET", "/tasks/1"),
        ("GET", "/tasks"),
        ("POST", "/tasks", NEW),
        ("PATCH", "/tasks/1", {"title": "No"}),
    )
    return [ask(*call)[0] for call in calls]


@pytest.fixture
def scripts(monkeypatch):
    """Imports the benchmarks' scripts, which import one another by their bare names."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module


def test_every_peer_answers_as_ours_does(scripts):
    operations = scripts("operations")
    with scripts("servers").filled(("ours", *PEERS), POSTGRES, users=2, each=60) as servers:
        asked = {
            name: Asked(server, operations.exchange, operations.Sent)
            for name, server in servers.items()
        }
        for questions in (reads, writes, walls):
            told = {name: questions(ask) for name, ask in asked.items()}
            for name in PEERS:
                assert told[name] == told["ours"], name
        assert told["ours"] == [200, 204, *[401] * 8, *[True] * 8]


def test_a_wrong_answer_ends_the_benchmark_and_is_shown(scripts):
    operations = scripts("operations")
    raw = operations.Sent("GET", "/nowhere").raw(None)
    with (
        scripts("servers").filled(("hello",), None, users=1, each=1) as servers,
        pytest.raises(SystemExit, match=r"hello answered list wrongly: 404 .*Not Found"),
    ):
        operations.require_right(
            "hello", "list", operations.OPERATIONS["list"], servers["hello"].port, raw
        )


def test_a_short_benchmark_reports_every_figure_of_every_server(tmp_path):
    document, results = tmp_path / "document.md", tmp_path / "results.json"
    document.write_text("Before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nAfter\n")
    databases = ("--database", "postgresql", "--postgresql", POSTGRES) if POSTGRES else (
        "--database", "sqlite")  # fmt: skip
    which = ("--servers", "ours,hello", "--only", "get unchanged,login", "--quick")
    where = ("--json", results, "--report", document, "--plots", tmp_path / "plots")
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "bench.py", *databases, *which, *where],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    samples = json.loads(results.read_text())["results"]
    assert [(one["operation"], one["server"]) for one in samples] == [
        (operation, server)
        for server in ("ours", "hello")
        for operation in ("get unchanged", "login")
    ]
    for one in samples:
        assert min(one[name] for name in ("cpu_us", "rps", "p50_ms", "p99_ms")) > 0, one
        assert one["p50_ms"] <= one["p99_ms"]
        assert one["errors"] == {"status": 0, "timeout": 0, "socket": 0}
    text = document.read_text()
    assert text.startswith("Before\n<!-- bench: begin -->\n\nMeasured ")
    assert text.endswith("\n<!-- bench: end -->\nAfter\n")
    assert "old" not in text
    assert ran.stdout.strip() in text
    assert len(list((tmp_path / "plots").glob("*.svg"))) == 2


def test_the_commands_that_the_document_shows_are_understood(scripts):
    text = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    known = {
        "pipenv run bench ": scripts("bench").options(),
        "pipenv run python benchmarks/scale.py ": scripts("scale").options(),
        "pipenv run python benchmarks/in_process.py ": scripts("in_process").options(),
        "pipenv run python benchmarks/settings.py ": scripts("settings").options(),
        "pipenv run python benchmarks/flames.py ": scripts("flames").options(),
    }
    shown = re.findall(r"(?m)^`?(pipenv run (?:bench|python \S+) )([^`\n]+)", text)
    assert {command for command, _ in shown} == known.keys()
    for command, arguments in shown:
        assert known[command].parse_args(shlex.split(arguments))


def test_settings_are_measured_beside_one_another():
    asked = ["--only", "get", "--rounds", "1", "--seconds", "1", "--tasks", "100"]
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "settings.py", *asked, "THREADS=2", "THREADS=4"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|")[1:-1] for line in ran.stdout.splitlines() if line.startswith("| get")]
    assert [row[1].strip() for row in rows] == ["`THREADS=2`", "`THREADS=4`"]
    for row in rows:
        assert all(float(figure) > 0 for figure in row[2:])


def test_operations_are_measured_within_a_process_beside_a_bare_route():
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "in_process.py", "--rounds", "2", "--requests", "60"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|")[1:-1] for line in ran.stdout.splitlines() if line.startswith("| ")][1:]
    multiples = {row[0].strip(): float(row[2]) for row in rows}
    assert multiples.pop("hello") == 1
    assert len(multiples) == 6
    assert all(multiple > 1 for multiple in multiples.values())
    assert multiples["list, remembered"] < multiples["list"]
    assert ran.stderr == ""


def test_a_flame_graph_shows_our_functions_and_no_place_of_a_machine(tmp_path):
    subprocess.run(
        [sys.executable, BENCHMARKS / "flames.py", tmp_path, "--only", "get", "--seconds", "5"],
        check=True,
    )
    drawn = (tmp_path / "flame-get-after.svg").read_text()
    assert "read_task (app/tasks/routes.py" in drawn
    assert str(BENCHMARKS.parent) not in drawn
    assert str(tmp_path) not in drawn


def test_what_is_read_anew_means_the_same_and_was_not_asked_before(scripts):
    path = "/tasks?sort=-due&limit=50&cursor=a.b"
    asked = {scripts("scale").anew(path, number) for number in range(60)}
    assert len(asked) == 60
    assert {unquote(one) for one in asked} == {path}
    assert scripts("scale").anew("/tasks/500", 7) == "/tasks/507"
