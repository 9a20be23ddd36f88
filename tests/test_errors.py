"""Problem responses: errors from every layer, and what they reveal."""

import io
import logging

import pytest
from sqlalchemy import func, insert, select, text

from app import create_app
from app.api.middleware import SECURITY_HEADERS
from app.errors import all_problems
from app.extensions import db
from app.tasks.models import Task
from tests.factories import TaskRow
from tests.problems import assert_problem

LOGIN = "/api/v1/auth/login"
INTERNAL = "internal details"


def crash():
    raise RuntimeError(INTERNAL)


def violate_foreign_key():
    """Insert a task of a user that does not exist."""
    db.session.execute(insert(Task).values(TaskRow(title=INTERNAL, created_by=2**40)))
    db.session.commit()


def run_invalid_sql():
    db.session.execute(text("SELECT internal FROM details"))


@pytest.fixture
def make_client(settings):
    """Create an application with other settings and with routes that fail; return a client."""
    apps = []

    def make(**changes):
        app = create_app(settings | changes)
        apps.append(app)
        for view in (crash, violate_foreign_key, run_invalid_sql):
            app.add_url_rule(f"/{view.__name__}", view_func=view, methods=["GET", "POST"])
        return app.test_client()

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def test_problem_has_exactly_the_documented_members(client):
    response = client.get("/api/v1/nowhere?token=x", headers={"X-Request-ID": "abc-1"})
    assert response.content_type == "application/problem+json"
    assert response.json == {
        "type": "http://127.0.0.1:5000/problems/not_found",
        "title": "Not found",
        "status": 404,
        "code": "not_found",
        "detail": "The resource was not found.",
        "instance": "/api/v1/nowhere",
        "request_id": "abc-1",
    }
    assert SECURITY_HEADERS.items() <= dict(response.headers).items()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/x", "/api/v1/auth/x", "/api/v1//auth/login", "/api/v1/AUTH/me"])
def test_unknown_path_is_404_for_every_method(client, method, path):
    response = client.open(path, method=method)
    assert (response.status_code, response.content_type) == (404, "application/problem+json")
    if method == "HEAD":
        assert response.data == b""
    else:
        assert_problem(response, 404, "not_found")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("excess", [0, 1, 1000])
def test_body_over_the_limit_is_413(make_client, app, chunked, excess):
    body = b'{"username": "x", "password": "x"}'
    body += b" " * (512 + excess - len(body))
    request = {"data": body}
    if chunked:
        request = {
            "input_stream": io.BytesIO(body),
            "headers": {"Transfer-Encoding": "chunked"},
            "environ_overrides": {"wsgi.input_terminated": True},
        }
    client = make_client(MAX_CONTENT_LENGTH=512)
    response = client.post(LOGIN, content_type="application/json", **request)
    if excess:
        assert_problem(response, 413, "payload_too_large")
    else:
        assert_problem(response, 401, "invalid_credentials")


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("/crash", {500: "internal_error"}),
        # SQLite raises OperationalError both for invalid SQL and for an unavailable file.
        ("/run_invalid_sql", {500: "internal_error", 503: "unavailable"}),
    ],
)
def test_unexpected_error_reveals_nothing_and_is_logged(make_client, app, caplog, path, codes):
    response = make_client().get(path, headers={"X-Request-ID": "crash-7"})
    assert_problem(response, response.status_code, codes[response.status_code])
    for word in ("internal details", "internal FROM", "Error:", "Traceback", ".py", "SELECT"):
        assert word not in response.text
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "request_id=crash-7" in record.getMessage()
    assert "internal" in str(record.exc_info[1])
    assert record.exc_info[2] is not None


def test_client_error_is_not_logged_as_error(client, caplog):
    assert_problem(client.get("/api/v1/tasks"), 401, "authentication_required")
    assert_problem(client.post(LOGIN, json=[]), 422, "validation_error")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("url", ["sqlite:///{}/absent/tasks.db", "postgresql://127.0.0.1:1/none"])
def test_unreachable_database_is_503(make_client, caplog, tmp_path, url):
    client = make_client(DATABASE_URL=url.format(tmp_path))
    response = client.post(LOGIN, json={"username": "alice", "password": "x"})
    body = assert_problem(response, 503, "unavailable")
    assert response.headers["Retry-After"].isdigit()
    assert "127.0.0.1:1" not in body["detail"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"request_id={body['request_id']}" in record.getMessage()
    assert record.exc_info[2] is not None


def test_exhausted_pool_is_503(make_client, app):
    client = make_client(THREADS=1, DB_POOL_TIMEOUT=1)
    with client.application.app_context():
        engine = db.engine
    with engine.connect():
        response = client.post(LOGIN, json={"username": "alice", "password": "x"})
    assert_problem(response, 503, "unavailable")


def test_constraint_violation_is_409(make_client, alice, stored):
    response = make_client().post("/violate_foreign_key")
    assert_problem(response, 409, "conflict")
    assert INTERNAL not in response.text
    assert stored(select(func.count()).select_from(Task)) == [(0,)]


@pytest.mark.parametrize("path", ["/a b", "/caf%C3%A9", "/100%25", "/a%22b%3C", "/%F0%9F%92%A5"])
def test_instance_is_a_valid_uri_reference(client, path):
    assert_problem(client.get(path), 404, "not_found")


def test_codes_are_unique_and_titles_match_them():
    problems = all_problems()
    assert len({problem.code for problem in problems}) == len(problems) >= 20
    for problem in problems:
        assert problem.title.lower() == problem.code.replace("_", " ")
        assert 400 <= problem.status <= 599
