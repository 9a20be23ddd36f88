"""What every answer carries, and which paths and methods there are."""

import re

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem

MADE = re.compile(r"[0-9a-f]{32}")
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
OPEN_PATHS = ["/api/v1/tasks", "/nothing/here", "/api/v1/tasks/x"]


@pytest.mark.parametrize("given", ["a", "0", "A-Z_a.z-9", "x" * 128])
@pytest.mark.parametrize("path", OPEN_PATHS)
def test_a_good_request_id_is_echoed(client, path, given):
    answer = client.get(path, headers={"X-Request-ID": given})
    assert answer.headers.getlist("X-Request-ID") == [given]
    assert answer.json["request_id"] == given


@pytest.mark.parametrize("given", [None, "", " ", "a b", "x" * 129, "é", "a,b", "a/b", "<script>"])
@pytest.mark.parametrize("path", OPEN_PATHS)
def test_any_other_request_id_is_made(client, path, given):
    headers = {} if given is None else {"X-Request-ID": given}
    answer = client.get(path, headers=headers)
    [made] = answer.headers.getlist("X-Request-ID")
    assert MADE.fullmatch(made)
    assert answer.json["request_id"] == made


def test_no_two_requests_share_a_made_id(client):
    made = {client.get("/").headers["X-Request-ID"] for _ in range(20)}
    assert len(made) == 20


def answers(account):
    """An answer of each kind."""
    task = account.task()
    yield account.get("/tasks")
    yield account.get(f"/tasks/{task['id']}")
    yield account.get("/auth/me")
    yield account.call("HEAD", "/tasks")
    yield account.call("OPTIONS", "/tasks")
    yield account.call("POST", "/tasks", data=b"{", content_type="application/json")
    yield account.get("/tasks/0")
    yield account.call("POST", f"/tasks/{task['id']}")
    yield account.delete(f"/tasks/{task['id']}")


def test_every_answer_carries_the_security_headers(alice, client):
    for answer in (*answers(alice), *map(client.get, OPEN_PATHS)):
        told = {name: answer.headers.getlist(name) for name in SECURITY}
        assert told == {name: [value] for name, value in SECURITY.items()}


def test_https_is_asked_for_where_the_request_came_over_it(client):
    over_https = client.get("/api/v1/tasks", base_url="https://api.example.com")
    assert over_https.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    for headers in ({}, {"X-Forwarded-Proto": "https"}, {"Forwarded": "proto=https"}):
        assert "Strict-Transport-Security" not in client.get("/", headers=headers).headers


def test_no_answer_names_the_server(alice):
    for answer in answers(alice):
        assert not {"Server", "X-Powered-By"} & set(answer.headers.keys())


@pytest.mark.parametrize(
    "accept",
    [
        *("text/html", "application/problem+json", "application/xml, text/*", "image/*;q=1"),
        *(
            "application/json;q=0",
            "application/json;q=0, */*;q=0.5",
            "*/*;q=0",
            "application/*;q=0",
        ),
    ],
)
def test_an_accept_that_rules_out_json_is_not_acceptable_and_does_nothing(alice, stored, accept):
    headers = {"Accept": accept}
    assert_problem(alice.get("/tasks", headers=headers), 406, "not_acceptable")
    answer = alice.post("/tasks", {"title": "New"}, headers=headers)
    assert_problem(answer, 406, "not_acceptable")
    assert stored(select(Task.id)) == []


@pytest.mark.parametrize(
    "accept",
    [
        *(
            "",
            "*/*",
            "application/json",
            "Application/JSON",
            "application/*",
            "text/html, */*;q=0.1",
        ),
        *(
            "application/json;q=0.001",
            "application/json; charset=utf-8",
            "*/*;q=0, application/json",
        ),
    ],
)
def test_an_accept_that_leaves_room_for_json_gets_it(alice, accept):
    task = alice.task()
    answer = alice.get(f"/tasks/{task['id']}", headers={"Accept": accept})
    assert answer.json == task
    assert answer.content_type == "application/json"
