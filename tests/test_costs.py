"""What each operation costs stays within 5 % of what is recorded: counted, and so never by chance.

``UPDATE_COSTS=1 pytest tests/test_costs.py`` records anew, for the database under test and the
Python that runs, and leaves the others as they are.
"""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from app.config import SETTINGS
from app.extensions import db
from app.statements import Query
from app.tasks import services
from tests.conftest import ROOT, SECRET
from tests.counting import CALLS, OPERATIONS, TASKS, count, prepare

RECORD = ROOT / "tests" / "costs.json"
WITHIN = 0.05
RENEW = "UPDATE_COSTS=1 pytest tests/test_costs.py"
READS = {"get", "list", "list, filtered and sorted"}
# What is set by chance, and what would trace the program, is not what production ships.
FOREIGN = ("OTEL", "SENTRY", "COV", "FLASK", *(setting.name for setting in SETTINGS))
SHIPPED = {
    "FLASK_CONFIG": "production",
    "ALLOW_SQLITE": "1",
    "METRICS": "1",
    "RATELIMIT_ENABLED": "0",
    "PUBLIC_URL": "http://localhost",
    "SECRET_KEY": SECRET,
    "JWT_SECRET_KEY": SECRET,
    # In another order, sets would call other functions.
    "PYTHONHASHSEED": "0",
}


@cache
def counted_by_program(url, folder):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    own = {"DATABASE_URL": url, "INSTANCE_PATH": folder, "PROMETHEUS_MULTIPROC_DIR": folder}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.counting"],
        check=False,
        cwd=ROOT,
        env=environ | SHIPPED | own,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    costs = json.loads(ran.stdout)
    if os.environ.get("UPDATE_COSTS"):
        write(renewed(read(), kind(url), costs))
    return costs


def kind(url):
    return "sqlite" if url.startswith("sqlite") else "postgresql"


@pytest.fixture
def counted(app, database_url, tmp_path_factory):
    """What is counted now; once for all tests, but with a database that is emptied after it."""
    return counted_by_program(database_url, str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def recorded(counted, database_url):
    """What is recorded for this database, which may just have been renewed."""
    return read().get(kind(database_url), {})


def read():
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def write(record):
    # In one go, for another worker may do the same.
    new = RECORD.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    new.replace(RECORD)


def renewed(record, database, costs):
    """Return a record with what was counted on a database in place of what it says of that."""
    return record | {database: record.get(database, {}) | costs}


def changes(now, before, within=0):
    """Tell which costs are off the recorded ones by more than that part of them, or missing."""
    told = []
    for name in sorted(now.keys() | before.keys()):
        is_now, was = now.get(name), before.get(name)
        if is_now is None or was is None or abs(is_now - was) > within * was:
            told.append(f"{name}: {is_now}, recorded {was}")
    return told


def require_unchanged(what, now, before, within=0):
    if found := changes(now, before, within):
        bound = f" by more than {within:.0%}" if within else ""
        said = [f"{what} changed{bound}:", *found, f"If it is meant so: {RENEW}"]
        pytest.fail("\n".join(said), pytrace=False)


def test_a_read_takes_two_statements_and_one_connection(counted):
    for name in READS:
        assert (counted["statements"][name], counted["connections"][name]) == (2, 1), name


@pytest.mark.parametrize("what", ["statements", "connections"])
def test_every_operation_takes_the_statements_and_connections_that_are_recorded(
    counted, recorded, what
):
    assert counted[what].keys() == OPERATIONS.keys()
    require_unchanged(what, counted[what], recorded.get(what, {}))


def test_every_operation_calls_as_many_functions_as_recorded_beside_a_bare_route(counted, recorded):
    if CALLS not in recorded:
        pytest.skip(f"nothing is recorded of {CALLS}; {RENEW} does so")
    require_unchanged(CALLS, counted[CALLS], recorded[CALLS], WITHIN)


@pytest.mark.parametrize(
    ("now", "within", "told"),
    [
        ({"get": 4.19, "list": 8.39}, 0.05, []),
        ({"get": 3.81, "list": 7.61}, 0.05, []),
        ({"get": 4.21, "list": 8.39}, 0.05, ["get: 4.21, recorded 4.0"]),
        ({"get": 4.0, "list": 7.59}, 0.05, ["list: 7.59, recorded 8.0"]),
        ({"get": 4.4, "list": 8.8}, 0.05, ["get: 4.4, recorded 4.0", "list: 8.8, recorded 8.0"]),
        ({"get": 4.0, "list": 8.01}, 0, ["list: 8.01, recorded 8.0"]),
        ({"get": 4.0}, 0.05, ["list: None, recorded 8.0"]),
        ({"get": 4.0, "list": 8.0, "new": 1.0}, 0.05, ["new: 1.0, recorded None"]),
    ],
)
def test_what_is_dearer_or_cheaper_than_it_may_be_is_told(now, within, told):
    assert changes(now, {"get": 4.0, "list": 8.0}, within) == told


def test_a_change_is_told_with_the_way_to_record_it():
    with pytest.raises(pytest.fail.Exception) as told:
        require_unchanged("calls", {"get": 4.4}, {"get": 4.0}, WITHIN)
    assert str(told.value).splitlines() == [
        "calls changed by more than 5%:",
        "get: 4.4, recorded 4.0",
        f"If it is meant so: {RENEW}",
    ]


def test_a_renewal_leaves_other_databases_and_other_pythons_alone():
    record = {
        "sqlite": {"statements": {"get": 2}, "calls, Python 3.0": {"get": 4.0}},
        "postgresql": {"statements": {"get": 2}},
    }
    costs = {"statements": {"get": 3}, CALLS: {"get": 5.0}}
    assert renewed(record, "sqlite", costs) == {
        "sqlite": {
            "statements": {"get": 3},
            "calls, Python 3.0": {"get": 4.0},
            CALLS: {"get": 5.0},
        },
        "postgresql": {"statements": {"get": 2}},
    }
    assert renewed({}, "sqlite", costs) == {"sqlite": costs}


def ask_twice(actor):
    assert Query(services.COUNT).first({"owner_id": actor.id}) == (TASKS,)


def take_another_connection(actor):
    db.engine.raw_connection().close()


@pytest.mark.parametrize(
    ("needless", "statements", "connections"),
    [
        (ask_twice, ["get: 3, recorded 2"], []),
        (take_another_connection, [], ["get: 2, recorded 1"]),
    ],
)
def test_what_is_done_needlessly_is_told(app, monkeypatch, needless, statements, connections):
    scene = prepare(app)
    only = {"get": OPERATIONS["get"]}
    before = count(scene, only)
    read_task = services.read_task

    def read_and_more(actor, task_id):
        needless(actor)
        return read_task(actor, task_id)

    monkeypatch.setattr(services, "read_task", read_and_more)
    after = count(scene, only)
    assert changes(after["statements"], before["statements"]) == statements
    assert changes(after["connections"], before["connections"]) == connections
    # A statement is many calls; a connection may be too few to stand out.
    assert len(changes(after[CALLS], before[CALLS], WITHIN)) >= len(statements)
