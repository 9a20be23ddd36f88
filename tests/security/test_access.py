"""docs/access.md: the status that each type of caller gets from each route.

``UPDATE_DOCS=1 pytest tests/security/test_access.py`` writes it.
"""

import os
import re

import pytest

from tests.conftest import ROOT
from tests.security.calls import PUBLIC

UPDATE = "UPDATE_DOCS=1 pytest tests/security/test_access.py"
ACCESS = ROOT / "docs" / "access.md"
HEAD = """\
# Who may call what

Each row is a route. Each cell is the status of a call with a valid body, on data of the owner that
was created for that call. The columns differ only in the token:

- *none*: no token;
- *owner*: a new session of the user who owns the data in the path or the body;
- *other*: a session of another user;
- *disabled*: a session of a user who was disabled afterwards;
- *scope*: a personal access token of the owner with every scope except that of the route, or with
  every scope if the route needs a session;
- *admin*: a session of an administrator.

A route without the id of a resource concerns the caller's own data: other users get the same status
with their own data. `HEAD` has the status of `GET`; `OPTIONS` lists the methods for everyone. The
tests generate this table from the responses of the server, and fail if it differs.

"""
COLUMNS = ("none", "owner", "other", "disabled", "scope", "admin")
ROW = re.compile(r"\| `(\w+ \S+)` " + r"\| (\d{3}) " * len(COLUMNS) + r"\|")


def statuses(world, route):
    """Return the status for each caller, in the order of COLUMNS."""
    callers = {
        "none": (world.ada, None),
        "owner": (world.ada, world.session_token(route, world.ada)),
        "other": (world.bob, world.session_token(route, world.bob)),
        "disabled": (world.ada, world.session_token(route, world.dora)),
        "scope": (world.ada, world.token_without_scope(route)),
        "admin": (world.admin, world.session_token(route, world.admin)),
    }
    responses = {}
    for column in COLUMNS:
        account, token = callers[column]
        world.restore()
        responses[column] = world.call(route, account, token=token)
    if all(response.status_code >= 400 for response in responses.values()):
        texts = {column: response.text for column, response in responses.items()}
        pytest.fail(
            f"{route.name}: no caller succeeds; add what it needs to calls.BODY_VALUES. {texts}"
        )
    return [response.status_code for response in responses.values()]


def test_access_table_is_up_to_date(world):
    lines = [
        f"| Route | {' | '.join(f'*{column}*' for column in COLUMNS)} |",
        f"|---{'|---' * len(COLUMNS)}|",
    ]
    for route in world.routes():
        cells = map(str, statuses(world, route))
        lines.append(f"| `{route.name}` | {' | '.join(cells)} |")
    document = HEAD + "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        ACCESS.write_text(document)
    assert document == ACCESS.read_text(), f"review and commit what this writes: {UPDATE}"


def rows():
    """Yield each route of the committed table with the status of each column."""
    for name, *cells in ROW.findall(ACCESS.read_text()):
        yield name, dict(zip(COLUMNS, map(int, cells), strict=True))


def test_access_table_has_no_unexpected_access():
    table = dict(rows())
    public = {name for name, statuses_of in table.items() if statuses_of["none"] < 400}
    assert public == PUBLIC, "protect the routes, or add them to PUBLIC in tests/security/calls.py"
    assert all(len(set(table[name].values())) == 1 for name in PUBLIC)
    for name, statuses_of in table.items():
        if name not in PUBLIC:
            assert statuses_of["none"] == 401, name
            assert statuses_of["disabled"] == 403, name
            assert statuses_of["scope"] in {401, 403}, name
        if re.search(r"{\w+_id}", name):
            assert statuses_of["other"] in {403, 404}, name
        if name.partition(" ")[2].startswith("/api/v1/users"):
            assert statuses_of["other"] == 403, name
            assert statuses_of["owner"] == (200 if name == "GET /api/v1/users/{user_id}" else 403)
