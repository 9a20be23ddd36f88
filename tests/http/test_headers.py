"""What every answer carries, and which paths and methods there are."""

import re
from urllib.parse import unquote

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.accounts import PASSWORD
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


def test_every_answer_to_an_authenticated_request_is_private(alice):
    for answer in answers(alice):
        assert answer.headers.getlist("Cache-Control") == ["private, no-cache"]
        assert answer.headers.getlist("Vary") == ["Authorization"]


def test_an_answer_that_carries_a_token_is_never_stored(alice, client):
    login = {"username": "alice", "password": PASSWORD}
    refresh = {"Authorization": f"Bearer {alice.refresh_token}"}
    for answer in (
        client.post("/api/v1/auth/login", json=login),
        alice.post("/auth/login", login),
        client.post("/api/v1/auth/refresh", headers=refresh),
        alice.post("/auth/reauthenticate", {"password": PASSWORD}),
    ):
        assert answer.json["access_token"]
        assert answer.headers.getlist("Cache-Control") == ["no-store"]


def test_https_is_asked_for_where_the_request_came_over_it(client):
    over_https = client.get("/api/v1/tasks", base_url="https://api.example.com")
    assert over_https.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    for headers in ({}, {"X-Forwarded-Proto": "https"}, {"Forwarded": "proto=https"}):
        assert "Strict-Transport-Security" not in client.get("/", headers=headers).headers


def test_no_answer_names_the_server(alice):
    for answer in answers(alice):
        assert not {"Server", "X-Powered-By"} & set(answer.headers.keys())


@pytest.mark.parametrize("path", ["/tasks", "/tasks?limit=1", "/tasks/{id}", "/auth/me"])
def test_head_has_the_headers_of_get_and_no_body(alice, path):
    task = alice.task()
    alice.task()
    headers = {"X-Request-ID": "same"}
    got = alice.get(path.format(id=task["id"]), headers=headers)
    head = alice.call("HEAD", path.format(id=task["id"]), headers=headers)
    assert (head.status_code, head.data) == (200, b"")
    assert dict(head.headers) == dict(got.headers)
    assert int(head.headers["Content-Length"]) == len(got.data)


ALLOWED = {
    "/api/v1/tasks": {"GET", "HEAD", "OPTIONS", "POST"},
    "/api/v1/tasks/1": {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"},
    "/api/v1/tasks/1/status": {"OPTIONS", "PUT"},
    "/api/v1/auth/login": {"OPTIONS", "POST"},
    "/api/v1/auth/sessions": {"GET", "HEAD", "OPTIONS", "DELETE"},
}


def allowed(answer):
    [header] = answer.headers.getlist("Allow")
    return set(header.split(", "))


@pytest.mark.parametrize("path", ALLOWED)
def test_options_tells_which_methods_there_are(client, path):
    answer = client.options(path)
    assert (answer.status_code, answer.data) == (200, b"")
    assert allowed(answer) == ALLOWED[path]


@pytest.mark.parametrize("path", ALLOWED)
def test_any_other_method_is_not_allowed_and_told_which_are(client, path):
    methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW"}
    for method in methods - ALLOWED[path]:
        answer = client.open(path, method=method)
        assert_problem(answer, 405, "method_not_allowed")
        assert allowed(answer) == ALLOWED[path]


def test_no_header_changes_the_method(alice, stored):
    task = alice.task()
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = alice.get(f"/tasks/{task['id']}", headers={name: "DELETE"})
        assert answer.json == task
    assert stored(select(Task.id)) == [(task["id"],)]


def test_a_trailing_slash_answers_as_the_path_without_it(alice):
    answer = alice.post("/tasks/", {"title": "Buy milk"})
    assert answer.status_code == 201
    path = f"/tasks/{answer.json['id']}"
    assert alice.get(f"{path}/").json == answer.json
    assert alice.get("/tasks/?limit=1").json["data"] == [answer.json]
    assert alice.put(f"{path}/status/", {"status": "completed"}).json["status"] == "completed"
    assert alice.patch(f"{path}/", {"title": "New"}).json["title"] == "New"
    assert alice.delete(f"{path}/").status_code == 204


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/tasks",
        "/api//v1/tasks",
        "/api/v1//tasks",
        "/api/v1/tasks//",
        "/api/v1/tasks//{id}",
        "/%2Fapi/v1/tasks",
        "/api/v1/%2Ftasks",
        "/api/v1/tasks/%2F",
        "/api/v1/tasks/%2F{id}",
        "/api/v1/tasks%252F{id}",
        "/api/v1/../v1/tasks",
        "/api/v1/auth/../tasks",
        "/api/v1/tasks/..",
        "/api/v1/tasks/.",
        "/api/v1/./tasks",
        "/api/v1/auth/%2e%2e/tasks",
        "/api/v1/tasks/%2e%2e%2ftasks",
        "/api/v1/Tasks",
        "/API/v1/tasks",
        "/api/v1/TASKS/{id}",
        "/api/v1/tasks/{id}/Status",
        "/api/v1/tasks.json",
        "/api/v1/tasks;x=1",
        "/api/v1/tasks%00",
        "/api/v1/tasks/{id}/nothing",
        "/api/v1",
        "/api/v2/tasks",
        "\\api\\v1\\tasks",
        "/api/v1\\tasks",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_spelling_of_a_path_is_not_found_and_never_redirected(alice, stored, path, method):
    task = alice.task()
    environ = {"PATH_INFO": unquote(path.format(id=task["id"]))}
    body = {"title": "New"} if method == "POST" else None
    answer = alice.call(method, "/", json=body, environ_overrides=environ)
    assert answer.status_code == 404
    assert (answer.json["code"], "Location" in answer.headers) == ("not_found", False)
    assert stored(select(Task.id)) == [(task["id"],)]


LYING_HEADERS = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8443"},
    {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
    {"X-Forwarded-Prefix": "/evil.example", "X-Script-Name": "/evil.example"},
    {"Forwarded": "host=evil.example;proto=https"},
    {"X-Original-URL": "/evil.example", "X-Rewrite-URL": "/evil.example"},
]


@pytest.mark.parametrize("headers", LYING_HEADERS)
def test_addresses_are_those_of_the_public_url_whatever_a_client_says(app, alice, client, headers):
    public = app.config["PUBLIC_URL"]
    made = alice.call("POST", "/tasks", json={"title": "Buy milk"}, headers=headers)
    assert made.headers["Location"] == made.json["url"]
    assert made.json["url"] == f"{public}/api/v1/tasks/{made.json['id']}"
    alice.task()
    listed = alice.get("/tasks?limit=1", headers=headers)
    assert listed.headers["Link"].startswith(f"<{public}/api/v1/tasks?")
    bob = {"username": "bob", "email": "bob@example.com", "password": PASSWORD}
    registered = client.post("/api/v1/auth/register", json=bob, headers=headers)
    assert registered.headers["Location"] == f"{public}/api/v1/auth/me"
    problem = client.get("/nothing", headers=headers)
    assert problem.json["type"] == f"{public}/problems/not_found"
    for answer in (made, listed, registered, problem):
        assert "evil.example" not in f"{answer.headers}{answer.text}"


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
