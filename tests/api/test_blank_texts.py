"""Texts that look empty: only characters without a glyph."""

import pytest
from sqlalchemy import select

from app.auth.models import PersonalToken
from app.tasks.models import Task
from tests.problems import assert_problem

BLANK = [
    "\u200b",
    "\u200d\u2060",
    "\ufeff",
    "\u00ad",
    "\u3164",
    "\uffa0",
    "\u115f\u1160",
    "\u2800",
    "\u034f",
    "\ufe0f",
    "\u202e \u202c",
    "\U000e0020\U000e007f",
    " \u3000\u2009 ",
]
EMPTY = "Must not be empty."


def details(response):
    body = assert_problem(response, 422, "validation_error")
    return {error["pointer"] or error["parameter"]: error["detail"] for error in body["errors"]}


@pytest.mark.parametrize("text", BLANK)
def test_title_that_looks_empty_is_rejected(alice, stored, text):
    task = alice.task("Visible")
    path = f"/tasks/{task['id']}"
    assert details(alice.post("/tasks", {"title": text})) == {"/title": EMPTY}
    assert details(alice.patch(path, {"title": text})) == {"/title": EMPTY}
    replacement = {"title": text, "status": "pending"}
    assert details(alice.put(path, replacement)) == {"/title": EMPTY}
    operation = {"op": "create", "body": {"title": text}}
    batch = alice.post("/tasks/batch", {"operations": [operation]}).json
    assert batch["results"][0]["problem"]["errors"][0]["detail"] == EMPTY
    assert stored(select(Task.title)) == [("Visible",)]


@pytest.mark.parametrize("text", BLANK)
def test_name_of_a_token_that_looks_empty_is_rejected(alice, stored, text):
    response = alice.post("/auth/tokens", {"name": text, "scopes": ["tasks:read"]})
    assert details(response) == {"/name": EMPTY}
    assert stored(select(PersonalToken.id)) == []


@pytest.mark.parametrize(
    "title", ["a\u200b", "\u200d\N{FAMILY}", "क्\u200dष", "\u05d0\u200f", "\u0301"]
)
def test_title_with_a_visible_character_is_kept(alice, title):
    assert alice.task(title)["title"] == title
