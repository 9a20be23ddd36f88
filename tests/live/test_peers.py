"""The peers of the benchmark respond as our server does, and the benchmark itself works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import datetime

import pytest

from benchmarks import bench, call_path, operations, scale, targets
from benchmarks.operations import Request, User, exchange
from tests.conftest import ROOT

POSTGRES = os.environ.get("TEST_DATABASE_URL")
PEERS = ("tutorial", "fastapi_sqlmodel", "drf")
TIMESTAMPS = ("created_at", "updated_at", "completed_at")
PASSWORD = "correct horse battery"
NEW = {
    "title": "Write the report",
    "priority": "high",
    "due_at": "2030-01-31T10:00:00+01:00",
    "time_zone": "Europe/Zurich",
}
INVALID = (
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

pytestmark = pytest.mark.skipif(
    not shutil.which("pipenv") and "NO_SKIPS" not in os.environ,
    reason="pipenv installs the peers",
)


class Client:
    """A client of one server; its responses can be compared with those of other servers."""

    def __init__(self, server):
        self.port = server.port
        self.token = None

    def __call__(self, method, path, body=None):
        request = Request(method, f"/api/v1{path}", body)
        response = exchange(self.port, request.encode(self.token))
        return response.status, self._normalize(response.body)

    def log_in(self, name, password):
        self.token = None
        status, body = self("POST", "/auth/login", {"username": name, "password": password})
        if status == 200:
            assert body["token_type"].lower() == "bearer"
            self.token = body["access_token"]
        return status

    def _normalize(self, value, key=""):
        if isinstance(value, dict):
            return {name: self._normalize(member, name) for name, member in value.items()}
        if isinstance(value, list):
            return [self._normalize(member) for member in value]
        if isinstance(value, str) and key.endswith("_at"):
            return datetime.fromisoformat(value)
        if isinstance(value, str):
            return value.replace(f"http://127.0.0.1:{self.port}", "")
        return value


def without_timestamps(response):
    status, body = response
    return status, {name: value for name, value in body.items() if name not in TIMESTAMPS}


def without_cursor(response):
    status, body = response
    return status, body["data"], body["next_cursor"] is not None


def read(client):
    """Return the responses to all kinds of reads."""
    assert client.log_in("user1", "wrong horse battery") == 401
    assert client.log_in("user2", PASSWORD) == 200
    single = [client("GET", f"/tasks/{task_id}") for task_id in (2, 1, 999)]
    [_, first_page] = client("GET", "/tasks?limit=50")
    # Peers match substrings, ours matches prefixes of words: these titles give the same results.
    queries = (
        "",
        f"&cursor={first_page['next_cursor']}",
        "&status=pending&sort=-priority",
        *(f"&sort={sort}" for sort in operations.SORTS),
        *(f"&q={words}" for words in ("report", "REPO", "tap%20call", "nowhere")),
    )
    pages = [without_cursor(client("GET", f"/tasks?limit=50{query}")) for query in queries]
    return single[0], [status for status, _ in single[1:]], pages


def write(client):
    """Return the responses to all kinds of writes."""
    client.log_in("user1", PASSWORD)
    created = client("POST", "/tasks", NEW)
    task = f"/tasks/{created[1]['id']}"
    completed = client("PATCH", task, {"status": "completed"})
    assert completed[1]["completed_at"] == completed[1]["updated_at"] > created[1]["created_at"]
    assert created[1]["created_at"] == created[1]["updated_at"]
    reopened = client("PATCH", task, {"status": "in_progress", "due_date": "2030-02-01"})
    assert reopened[1]["completed_at"] is None
    rejected = [client("POST", "/tasks", body)[0] in {400, 422} for body in INVALID]
    rejected += [client("PATCH", task, {"title": ""})[0] in {400, 422}]
    rejected += [client("PATCH", "/tasks/2", {"title": "Not mine"})[0] == 404]
    assert client("GET", task) == reopened
    return [*map(without_timestamps, (created, completed, reopened)), rejected]


def authenticate(client):
    """Return the responses without a token, and with a revoked or an invalid one."""
    client.log_in("user1", PASSWORD)
    token = client.token
    statuses = [client("GET", "/tasks/1")[0], client("POST", "/auth/logout")[0]]
    for client.token in (token, None):
        statuses += statuses_of_all_methods(client)
    for client.token in (token[:-4] + "AAAA", "nonsense"):
        # Flask-JWT-Extended responds to a malformed token with 422.
        statuses += [status in {401, 422} for status in statuses_of_all_methods(client)]
    return statuses


def statuses_of_all_methods(client):
    requests = (
        ("GET", "/tasks/1"),
        ("GET", "/tasks"),
        ("POST", "/tasks", NEW),
        ("PATCH", "/tasks/1", {"title": "No"}),
    )
    return [client(*request)[0] for request in requests]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_peer_responds_as_ours():
    with targets.all_filled(("ours", *PEERS), POSTGRES, users=2, tasks_per_user=60) as servers:
        clients = {name: Client(server) for name, server in servers.items()}
        for scenario in (read, write, authenticate):
            results = {name: scenario(client) for name, client in clients.items()}
            for name in PEERS:
                assert results[name] == results["ours"], name
        assert results["ours"] == [200, 204, *[401] * 8, *[True] * 8]


def test_wrong_response_stops_the_benchmark_and_is_shown():
    request = Request("GET", "/nowhere").encode()
    with (
        targets.filled("hello", None, users=1, tasks_per_user=1) as server,
        pytest.raises(SystemExit, match=r"hello, list: unexpected response 404 .*Not Found"),
    ):
        operations.check("hello", "list", operations.OPERATIONS["list"], server.port, request)


@pytest.mark.parametrize("name", ["ours", *PEERS])
def test_no_list_is_requested_twice_and_all_are_full(name):
    """Repeated requests could be answered from a cache."""
    with targets.filled(name, POSTGRES, users=2, tasks_per_user=500) as server:
        user = User(server.port, 1, range(1, 1000, 2))
        user.log_in()
        for operation in ("list", "filtered list"):
            paths = [request.path for request in operations.OPERATIONS[operation].requests(user, 0)]
            assert len(set(paths)) == len(paths) > 400
            for path in paths[:20]:
                page = user.send(Request("GET", path)).body["data"]
                assert len(page) == int(re.search(r"limit=(\d+)", path)[1])


def test_short_benchmark_reports_every_figure_of_every_server(tmp_path):
    document, results = tmp_path / "document.md", tmp_path / "results.json"
    document.write_text("Before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nAfter\n")
    database = ("postgresql", "--postgresql", POSTGRES) if POSTGRES else ("sqlite",)
    chosen = ("--servers", "ours,hello", "--only", "list unchanged,login", "--quick")
    output = ("--json", results, "--report", document, "--plots", tmp_path / "plots")
    completed = run("benchmarks.bench", "--database", *database, *chosen, *output)
    assert completed.returncode == 0, completed.stderr
    samples = json.loads(results.read_text())["results"]
    assert [(sample["operation"], sample["server"]) for sample in samples] == [
        ("list unchanged", "ours"),
        ("login", "ours"),
        ("login", "hello"),
    ]
    for sample in samples:
        assert min(sample[name] for name in ("cpu_us", "rps", "p50_ms", "p99_ms")) > 0, sample
        assert sample["p50_ms"] <= sample["p99_ms"]
        assert sample["errors"] == {"status": 0, "timeout": 0, "socket": 0}
    text = document.read_text()
    assert text.startswith("Before\n<!-- bench: begin -->\n\nMeasured ")
    assert text.endswith("\n<!-- bench: end -->\nAfter\n")
    assert "old" not in text
    assert completed.stdout.strip() in text
    assert len(list((tmp_path / "plots").glob("*.svg"))) == 1


def test_each_round_begins_with_another_server():
    order = list(bench.turns(["ours", "hello", "drf"], ["get", "get unchanged"], 2))
    assert order == [
        ("get", 0, "ours"),
        ("get", 0, "hello"),
        ("get", 0, "drf"),
        ("get", 1, "hello"),
        ("get", 1, "drf"),
        ("get", 1, "ours"),
        ("get unchanged", 0, "ours"),
        ("get unchanged", 1, "ours"),
    ]


def test_documented_commands_are_valid():
    text = (ROOT / "docs" / "performance.md").read_text()
    parsers = {
        "pipenv run bench": bench.parser(),
        "pipenv run python -m benchmarks.scale": scale.parser(),
        "pipenv run python -m benchmarks.call_path": call_path.parser(),
    }
    commands = re.findall(r"(?m)^`?(pipenv run (?:bench|python -m \S+))([^`\n]*)", text)
    assert {command for command, _ in commands} == parsers.keys()
    for command, arguments in commands:
        assert parsers[command].parse_args(shlex.split(arguments))
