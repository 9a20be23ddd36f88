"""A complete installation: nginx, two API processes, worker, beat, database, Redis and email."""

import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.celery import beat, worker
from tests.deploy.gateway import deployed, needs_nginx
from tests.redis import needs_redis, redis
from tests.smtp import listening
from tests.waiting import wait_for

pytestmark = [needs_nginx, needs_redis]

PASSWORD = "correct horse battery"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def installation(tmp_path_factory):
    """The gateway, the received emails, and a function that starts beat."""
    with ExitStack() as stack:
        enter = stack.enter_context
        counts, mailbox = enter(redis()), enter(listening())
        settings = {
            "REDIS_URL": counts.url,
            "RATELIMIT_ENABLED": "1",
            "RATE_LIMIT_REGISTER": "3 per minute",
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(mailbox.port),
            "MAIL_USE_TLS": "0",
            "LOG_FORMAT": "json",
        }
        deployment = enter(deployed(**settings))
        environ = deployment.servers[0].environ
        enter(worker(tmp_path_factory.mktemp("worker"), environ))
        yield (
            deployment.gateway,
            mailbox.received,
            lambda: beat(tmp_path_factory.mktemp("beat"), environ),
        )


def mail_on(received, subject):
    return wait_for(lambda: [mail for mail in received if subject in mail["Subject"]], 60)[0]


def text_of(mail):
    return mail.get_body(("plain",)).get_content()


def finished(call, location):
    """Wait until a job is finished and return it."""
    path = location.partition("/api/v1")[2]

    def read():
        job = call("GET", path).json
        return job if job["finished_at"] else None

    return wait_for(read, 60)


def test_features_work_through_all_parts(installation):
    gateway, received, start_beat = installation
    name = f"ada-{uuid4().hex[:8]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    assert gateway.call("POST", "/api/v1/auth/register", account).status == 201
    tokens = gateway.call("POST", "/api/v1/auth/login", {"username": name, "password": PASSWORD})
    bearer = {"Authorization": f"Bearer {tokens.json['access_token']}"}

    def call(method, path, body=None, **headers):
        return gateway.call(method, f"/api/v1{path}", body, bearer | headers)

    # The worker sends the emails; either API process accepts the emailed token.
    [token] = re.findall(r"(?m)^[\w-]{43}\s*$", text_of(mail_on(received, "Confirm")))
    assert call("POST", "/auth/email/verify", {"token": token.strip()}).status == 204
    assert call("PATCH", "/auth/me", {"notify_on_create": True}).json["email_verified"] is True

    due = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    created = call("POST", "/tasks", {"title": "Water the plants", "due_at": due})
    assert created.status == 201
    assert created.json["url"] in text_of(mail_on(received, "Created: Water the plants"))
    time.sleep(2)
    with start_beat():
        assert created.json["url"] in text_of(mail_on(received, "Due: Water the plants"))

    rows = b"title,priority\nOne,high\n,low\nThree,none\n"
    accepted = call("POST", "/imports", rows, **CSV)
    assert accepted.status == 202, accepted.body
    job = finished(call, accepted.headers["Location"])
    assert (job["state"], job["progress"]) == ("succeeded", {"done": 3, "total": 3})
    report = call("GET", f"/jobs/{job['id']}/result").json
    assert (report["created"], [row["line"] for row in report["rows"]]) == (2, [3])

    exported = finished(call, call("POST", "/exports", {"format": "json"}).headers["Location"])
    titles = {task["title"] for task in call("GET", f"/jobs/{exported['id']}/result").json["tasks"]}
    assert titles == {"Water the plants", "One", "Three"}

    listed = call("GET", "/tasks?limit=200")
    assert {task["title"] for task in listed.json["data"]} == titles
    conditional = call("GET", "/tasks?limit=200", **{"If-None-Match": listed.headers["ETag"]})
    assert conditional.status == 304

    assert call("POST", "/auth/logout").status == 204
    assert {call("GET", "/auth/me").json["code"] for _ in range(8)} == {"token_revoked"}

    others = [f"eve-{uuid4().hex[:8]}" for _ in range(8)]
    registrations = [
        gateway.call(
            "POST",
            "/api/v1/auth/register",
            {"username": other, "email": f"{other}@example.com", "password": PASSWORD},
        ).status
        for other in others
    ]
    # The limit is 3, and includes the first registration: both processes share the counter.
    assert registrations.count(201) <= 3
    assert registrations[-1] == 429
