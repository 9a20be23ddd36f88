"""Emails about created tasks, for users who ask for them."""

from contextlib import suppress

import pytest
import time_machine
from sqlalchemy import select, update

from app import clock
from app.auth.models import User
from app.extensions import db
from app.mail import sender
from app.outbox import leases
from app.outbox.models import OutboxMessage
from app.tasks.models import Task
from tests.accounts import verify_email
from tests.api.test_idempotency import KEY
from tests.mailbox import recipients_and_subjects

ALICE_EMAIL = "alice@example.com"
API = "http://127.0.0.1:5000/api/v1"
FOOTER = (
    "You receive an email for each task that you create."
    f' To stop these emails, set "notify_on_create" to false at {API}/auth/me.'
)


@pytest.fixture
def subscriber(alice, mails):
    """Return alice with a verified address and ``notify_on_create`` enabled."""
    verify_email(alice, mails)
    assert alice.patch("/auth/me", {"notify_on_create": True}).json["notify_on_create"] is True
    return alice


def test_email_has_title_due_and_url(subscriber, mails):
    due = {"due_at": "2030-01-31T23:30:00Z", "time_zone": "Europe/Zurich"}
    task = subscriber.task("Write the report", **due)
    [email] = mails.arrived()
    assert (email.to, email.subject) == (ALICE_EMAIL, "Created: Write the report")
    assert email.text.split("\n\n") == [
        "Hello alice,",
        "you have a new task at Task API:",
        "Title: Write the report",
        "Due: Friday, 1 February 2030, 00:30 (Europe/Zurich)",
        f"{API}/tasks/{task['id']}",
        FOOTER,
    ]
    assert f'href="{task["url"]}"' in email.html
    assert mails.arrived() == []


@pytest.mark.parametrize(
    ("due", "shown"),
    [
        ({}, None),
        ({"due_date": "2030-01-31"}, "Thursday, 31 January 2030 (Asia/Kathmandu)"),
        (
            {"due_date": "2030-01-31", "time_zone": "America/Adak"},
            "Thursday, 31 January 2030 (America/Adak)",
        ),
        (
            {"due_at": "2030-01-31T23:30:00Z"},
            "Friday, 1 February 2030, 05:15 (Asia/Kathmandu)",
        ),
        (
            {"due_at": "9999-12-31T23:30:00Z"},
            "Friday, 31 December 9999, 23:30 (UTC)",
        ),
        ({"due_date": "0001-01-01"}, "Monday, 1 January 1 (Asia/Kathmandu)"),
    ],
)
def test_due_is_shown_in_its_time_zone(subscriber, mails, due, shown):
    subscriber.patch("/auth/me", {"time_zone": "Asia/Kathmandu"})
    mails.arrived()
    subscriber.task(**due)
    [email] = mails.arrived()
    due_lines = [part for part in email.text.split("\n\n") if part.startswith("Due: ")]
    assert due_lines == ([f"Due: {shown}"] if shown else [])


def test_link_leads_to_app_url_if_configured(app, subscriber, mails, monkeypatch):
    monkeypatch.setitem(app.config, "APP_URL", "https://app.example.com")
    task = subscriber.task()
    [email] = mails.arrived()
    assert f"https://app.example.com/tasks/{task['id']}" in email.text.splitlines()
    assert task["url"] not in email.text


@pytest.mark.parametrize(
    "title", ["a\r\nBcc: eve@example.com", "a\n\nb\u2028c\x85d", "a\t  b\x1fc"]
)
def test_multiline_title_is_shown_in_one_line(subscriber, mails, title):
    subscriber.task(title)
    [email] = mails.arrived()
    line = " ".join(title.split())
    assert email.subject == f"Created: {line}"
    assert f"Title: {line}" in email.text.splitlines()
    message = email.message()
    assert (message["To"], message["Bcc"]) == (ALICE_EMAIL, None)
    assert message["Subject"] == f"Created: {line}"


def test_title_is_unchanged_in_text_and_escaped_in_html(subscriber, mails):
    title = "<b>1 & 2</b> {{ config.SECRET_KEY }} \"'日本 🙂"
    subscriber.task(title)
    [email] = mails.arrived()
    assert f"Title: {title}" in email.text.splitlines()
    assert email.message()["Subject"] == f"Created: {title}"
    text, _ = email.message().iter_parts()
    assert f"Title: {title}" in text.get_content().splitlines()
    assert "<b>" not in email.html
    assert "&lt;b&gt;1 &amp; 2&lt;/b&gt; {{ config.SECRET_KEY }} &#34;&#39;日本 🙂" in email.html


def test_url_in_title_is_not_a_link(subscriber, mails):
    subscriber.task("https://evil.example/")
    [email] = mails.arrived()
    assert email.html.count("href=") == 1
    assert 'href="https://evil' not in email.html


def test_batch_sends_one_email_about_created_tasks(subscriber, mails):
    existing_id = subscriber.task("Existing")["id"]
    mails.arrived()
    operations = [
        {"op": "create", "body": {"title": "First"}},
        {"op": "create", "body": {"title": ""}},
        {"op": "update", "id": existing_id, "body": {"title": "Renamed"}},
        {"op": "create", "body": {"title": "Second", "due_date": "2030-01-31"}},
    ]
    results = subscriber.post("/tasks/batch", {"operations": operations}).json["results"]
    assert [result["status"] for result in results] == [201, 422, 200, 201]
    [email] = mails.arrived()
    assert email.subject == "Created: 2 tasks"
    assert email.text.split("\n\n")[1:-1] == [
        "you have new tasks at Task API:",
        "Title: First",
        results[0]["body"]["url"],
        "Title: Second",
        "Due: Thursday, 31 January 2030 (UTC)",
        results[3]["body"]["url"],
    ]


def test_batch_without_created_tasks_sends_no_email(subscriber, mails):
    task_id = subscriber.task()["id"]
    mails.arrived()
    operations = [{"op": "update", "id": task_id, "body": {"title": "Renamed"}}]
    subscriber.post("/tasks/batch", {"operations": operations})
    operations = [{"op": "create", "body": {"title": "New"}}, {"op": "delete", "id": 2**40}]
    response = subscriber.post("/tasks/batch", {"atomic": True, "operations": operations})
    assert response.status_code == 404
    assert mails.arrived() == []


def test_emails_are_off_by_default(alice, mails):
    verify_email(alice, mails)
    alice.task()
    assert mails.arrived() == []


def test_unverified_address_receives_no_email(alice, mails):
    mails.arrived()
    alice.patch("/auth/me", {"notify_on_create": True})
    alice.task()
    assert mails.arrived() == []


@pytest.mark.parametrize(
    "change",
    [{"email_verified": False}, {"notify_on_create": False}, {"disabled_at": User.created_at}],
)
def test_preferences_are_checked_when_the_email_is_sent(app, subscriber, mails, change):
    subscriber.task()
    with app.app_context():
        db.session.execute(update(User).values(**change))
        db.session.commit()
    assert mails.arrived() == []


def test_task_deleted_before_sending_sends_no_email(subscriber, mails):
    subscriber.delete(f"/tasks/{subscriber.task()['id']}")
    assert mails.arrived() == []


def test_task_created_with_personal_token_sends_email(subscriber, mails):
    created = subscriber.post("/auth/tokens", {"name": "script", "scopes": ["tasks:write"]})
    subscriber.access_token = created.json["token"]
    subscriber.task("By a script")
    assert recipients_and_subjects(mails.arrived()) == {(ALICE_EMAIL, "Created: By a script")}


def test_without_mail_nothing_is_enqueued(subscriber, no_mail, stored):
    subscriber.task()
    assert stored(select(OutboxMessage.id)) == []


def test_repeated_request_with_idempotency_key_sends_one_email(subscriber, mails):
    for _ in range(2):
        assert subscriber.post("/tasks", {"title": "Once"}, headers=KEY).status_code == 201
    assert len(mails.arrived()) == 1


def test_rejected_request_sends_no_email(subscriber, mails, stored):
    assert subscriber.post("/tasks", {"title": ""}).status_code == 422
    assert mails.arrived() == []
    assert stored(select(Task.id)) == []


@pytest.mark.parametrize(("enabled", "count"), [(False, 3), (True, 4)])
@pytest.mark.parametrize("batch", [False, True])
def test_extra_statement_runs_only_if_emails_are_enabled(
    subscriber, statements, enabled, count, batch
):
    subscriber.patch("/auth/me", {"notify_on_create": enabled})
    operation = {"op": "create", "body": {"title": "New"}}
    path, body = ("/tasks/batch", {"operations": [operation] * 5}) if batch else ("/tasks", {})
    with statements() as seen:
        assert subscriber.post(path, body or {"title": "New"}).status_code < 300
    assert len(seen) == count, seen


def test_email_resent_after_crash_has_same_message_id(app, subscriber, mails, monkeypatch):
    class Killed(BaseException):
        pass

    def send_and_die(*args, **kwargs):
        send(*args, **kwargs)
        raise Killed

    send = sender.send
    subscriber.task("First")
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(sender, "send", send_and_die)
        mails.arrived()
    [first] = app.extensions["mailman"].outbox
    with time_machine.travel(clock.now() + leases.LEASE):
        subscriber.task("Other")
        repeated, other = (email.message()["Message-ID"] for email in mails.arrived()[1:])
    assert repeated == first.message()["Message-ID"]
    assert repeated.endswith("@127.0.0.1>")
    assert other != repeated
