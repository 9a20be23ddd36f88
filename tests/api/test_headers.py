"""Headers of every response, and content negotiation."""

import re

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem

GENERATED_ID = re.compile(r"[0-9a-f]{32}")
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
OPEN_PATHS = ["/api/v1/tasks", "/nothing/here", "/api/v1/tasks/x"]


@pytest.mark.parametrize("request_id", ["a", "0", "A-Z_a.z-9", "x" * 128])
@pytest.mark.parametrize("path", OPEN_PATHS)
def test_valid_request_id_is_echoed(client, path, request_id):
    response = client.get(path, headers={"X-Request-ID": request_id})
    assert response.headers.getlist("X-Request-ID") == [request_id]
    assert response.json["request_id"] == request_id


@pytest.mark.parametrize(
    "request_id", [None, "", " ", "a b", "x" * 129, "é", "a,b", "a/b", "<script>"]
)
@pytest.mark.parametrize("path", OPEN_PATHS)
def test_invalid_request_id_is_replaced(client, path, request_id):
    headers = {} if request_id is None else {"X-Request-ID": request_id}
    response = client.get(path, headers=headers)
    [generated] = response.headers.getlist("X-Request-ID")
    assert GENERATED_ID.fullmatch(generated)
    assert response.json["request_id"] == generated


def test_generated_request_ids_are_unique(client):
    ids = {client.get("/").headers["X-Request-ID"] for _ in range(20)}
    assert len(ids) == 20


def responses(account):
    """Yield a response of each type, successes and errors."""
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


def test_every_response_has_the_security_headers(alice, client):
    for response in (*responses(alice), *map(client.get, OPEN_PATHS)):
        headers = {name: response.headers.getlist(name) for name in SECURITY}
        assert headers == {name: [value] for name, value in SECURITY.items()}


def test_hsts_is_sent_only_over_https(client):
    over_https = client.get("/api/v1/tasks", base_url="https://api.example.com")
    assert over_https.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    for headers in ({}, {"X-Forwarded-Proto": "https"}, {"Forwarded": "proto=https"}):
        assert "Strict-Transport-Security" not in client.get("/", headers=headers).headers


def test_no_response_names_the_server(alice):
    for response in responses(alice):
        assert not {"Server", "X-Powered-By"} & set(response.headers.keys())


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
def test_accept_that_excludes_json_is_406_without_effect(alice, stored, accept):
    headers = {"Accept": accept}
    assert_problem(alice.get("/tasks", headers=headers), 406, "not_acceptable")
    response = alice.post("/tasks", {"title": "New"}, headers=headers)
    assert_problem(response, 406, "not_acceptable")
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
def test_accept_that_allows_json_gets_json(alice, accept):
    task = alice.task()
    response = alice.get(f"/tasks/{task['id']}", headers={"Accept": accept})
    assert response.json == task
    assert response.content_type == "application/json"
