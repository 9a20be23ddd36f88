"""Every failure, from any layer, is a problem that tells what it may and no more."""

import io
import logging

import pytest
from sqlalchemy import func, insert, select, text

from app import create_app
from app.errors import Problem
from app.extensions import db
from app.http.headers import SECURITY
from app.tasks.models import Task
from tests.factories import TaskRow
from tests.problems import assert_problem

LOGIN = "/api/v1/auth/login"
INSIDE = "the inside of the server"


def crash():
    raise RuntimeError(INSIDE)


def break_a_reference():
    """Write a task of an account that has just gone."""
    db.session.execute(insert(Task).values(TaskRow(title=INSIDE, created_by=2**40)))
    db.session.commit()


def ask_nonsense():
    db.session.execute(text("SELECT inside FROM server"))


@pytest.fixture
def made(settings):
    """Makes an application of other settings, with routes that fail."""
    apps = []

    def make(**changes):
        app = create_app(settings | changes)
        apps.append(app)
        for view in (crash, break_a_reference, ask_nonsense):
            app.add_url_rule(f"/{view.__name__}", view_func=view, methods=["GET", "POST"])
        return app.test_client()

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def test_a_problem_says_just_what_the_contract_names(client):
    answer = client.get("/api/v1/nowhere?token=x", headers={"X-Request-ID": "abc-1"})
    assert answer.content_type == "application/problem+json"
    assert answer.json == {
        "type": "http://127.0.0.1:5000/problems/not_found",
        "title": "Not found",
        "status": 404,
        "code": "not_found",
        "detail": "There is nothing here that you may see.",
        "instance": "/api/v1/nowhere",
        "request_id": "abc-1",
    }
    assert SECURITY.items() <= dict(answer.headers).items()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/x", "/api/v1/auth/x", "/api/v1//auth/login", "/api/v1/AUTH/me"])
def test_an_unknown_path_is_not_found_in_every_method(client, method, path):
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    if method == "HEAD":
        assert answer.data == b""
    else:
        assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("over", [0, 1, 1000])
def test_a_body_is_refused_from_one_byte_over_the_limit(made, app, chunked, over):
    body = b'{"username": "x", "password": "x"}'
    body += b" " * (512 + over - len(body))
    sent = {"data": body}
    if chunked:
        sent = {
            "input_stream": io.BytesIO(body),
            "headers": {"Transfer-Encoding": "chunked"},
            "environ_overrides": {"wsgi.input_terminated": True},
        }
    client = made(MAX_CONTENT_LENGTH=512)
    answer = client.post(LOGIN, content_type="application/json", **sent)
    if over:
        assert_problem(answer, 413, "payload_too_large")
    else:
        assert_problem(answer, 401, "invalid_credentials")


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("/crash", {500: "internal_error"}),
        # SQLite has one kind of error for a statement that it can't read and a file that it can't.
        ("/ask_nonsense", {500: "internal_error", 503: "unavailable"}),
    ],
)
def test_a_crash_tells_nothing_and_is_logged_whole_under_its_request_id(
    made, app, caplog, path, codes
):
    answer = made().get(path, headers={"X-Request-ID": "crash-7"})
    assert_problem(answer, answer.status_code, codes[answer.status_code])
    for word in ("inside of", "inside FROM", "Error:", "Traceback", ".py", "SELECT"):
        assert word not in answer.text
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "request_id=crash-7" in record.getMessage()
    assert "inside" in str(record.exc_info[1])
    assert record.exc_info[2] is not None


def test_a_refusal_is_not_logged_as_an_error(client, caplog):
    assert_problem(client.get("/api/v1/tasks"), 401, "authentication_required")
    assert_problem(client.post(LOGIN, json=[]), 422, "validation_error")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("url", ["sqlite:///{}/absent/tasks.db", "postgresql://127.0.0.1:1/none"])
def test_a_database_that_can_not_be_reached_is_unavailable(made, caplog, tmp_path, url):
    client = made(DATABASE_URL=url.format(tmp_path))
    answer = client.post(LOGIN, json={"username": "alice", "password": "x"})
    body = assert_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"].isdigit()
    assert "127.0.0.1:1" not in body["detail"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"request_id={body['request_id']}" in record.getMessage()
    assert record.exc_info[2] is not None


def test_a_busy_pool_is_unavailable(made, app):
    client = made(THREADS=1, DB_POOL_TIMEOUT=1)
    with client.application.app_context():
        engine = db.engine
    with engine.connect():
        answer = client.post(LOGIN, json={"username": "alice", "password": "x"})
    assert_problem(answer, 503, "unavailable")


def test_a_write_that_a_constraint_refuses_is_a_conflict(made, alice, stored):
    answer = made().post("/break_a_reference")
    assert_problem(answer, 409, "conflict")
    assert INSIDE not in answer.text
    assert stored(select(func.count()).select_from(Task)) == [(0,)]


def test_codes_are_one_to_a_kind_and_titles_follow_them():
    kinds, found = list(Problem.__subclasses__()), {}
    for kind in kinds:
        kinds += kind.__subclasses__()
        if "code" in vars(kind):
            assert kind.code not in found
            found[kind.code] = kind
            assert kind.title.lower() == kind.code.replace("_", " ")
            assert 400 <= kind.status <= 599
    assert len(found) >= 20
