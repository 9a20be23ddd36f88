"""Who gets what from every route: docs/access.md, held to what the server answers.

``UPDATE_DOCS=1 pytest tests/security/test_access.py`` writes it.
"""

import os
import re

import pytest

from tests.conftest import ROOT
from tests.security.calls import PUBLIC

ACCESS = ROOT / "docs" / "access.md"
HEAD = """\
# Who may call what

Each row is a route, each cell the status of a call of it whose body is good, on data of the owner's
that was made for that call; the columns differ in the token alone:

- *none*: no token;
- *owner*: a session of the user whose data the path or the body names, just logged in;
- *other*: a session of another user;
- *disabled*: a session of an account that was disabled since;
- *scope*: a personal access token of the owner's that has every scope but the route's, or where
  only a session will do, every scope;
- *admin*: a session of an administrator.

Where a route names nothing of anyone's, it is about the caller's own: another user has the same
status with another answer. `HEAD` answers as `GET` does, and `OPTIONS` tells everyone the methods.
The tests make this table of what the server answers, and fail where it differs.

"""
COLUMNS = ("none", "owner", "other", "disabled", "scope", "admin")
ROW = re.compile(r"\| `(\w+ \S+)` " + r"\| (\d{3}) " * len(COLUMNS) + r"\|")


def statuses(world, route):
    """What each caller gets, in the order of COLUMNS."""
    callers = {
        "none": (world.ada, None),
        "owner": (world.ada, world.session_token(route, world.ada)),
        "other": (world.bob, world.session_token(route, world.bob)),
        "disabled": (world.ada, world.session_token(route, world.dora)),
        "scope": (world.ada, world.token_without_scope(route)),
        "admin": (world.admin, world.session_token(route, world.admin)),
    }
    answered = {}
    for column in COLUMNS:
        account, token = callers[column]
        world.restore()
        answered[column] = world.call(route, account, token=token)
    if all(answer.status_code >= 400 for answer in answered.values()):
        told = {column: answer.text for column, answer in answered.items()}
        pytest.fail(f"{route.name}: nobody gets through; say in calls.FILLED what it needs. {told}")
    return [answer.status_code for answer in answered.values()]


def test_every_route_answers_each_caller_as_the_committed_table_says(world):
    lines = [
        f"| Route | {' | '.join(f'*{column}*' for column in COLUMNS)} |",
        f"|---{'|---' * len(COLUMNS)}|",
    ]
    for route in world.routes():
        cells = map(str, statuses(world, route))
        lines.append(f"| `{route.name}` | {' | '.join(cells)} |")
    made = HEAD + "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        ACCESS.write_text(made)
    assert made == ACCESS.read_text()


def rows():
    """The committed table: for each route, the status of each column."""
    for name, *cells in ROW.findall(ACCESS.read_text()):
        yield name, dict(zip(COLUMNS, map(int, cells), strict=True))


def test_in_the_table_nothing_is_open_that_is_not_meant_to_be():
    table = dict(rows())
    assert {name for name, told in table.items() if told["none"] < 400} == PUBLIC
    assert all(len(set(table[name].values())) == 1 for name in PUBLIC)
    for name, told in table.items():
        if name not in PUBLIC:
            assert told["none"] == 401, name
            assert told["disabled"] == 403, name
            assert told["scope"] in {401, 403}, name
        if re.search(r"{\w+_id}", name):
            assert told["other"] in {403, 404}, name
        if name.partition(" ")[2].startswith("/api/v1/users"):
            assert told["other"] == 403, name
            assert told["owner"] == (200 if name == "GET /api/v1/users/{user_id}" else 403)
