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

HERS = "alice@example.com"
API = "http://127.0.0.1:5000/api/v1"
FOOT = (
    "You receive an email for each task that you create."
    f' To stop these emails, set "notify_on_create" to false at {API}/auth/me.'
)


@pytest.fixture
def asking(alice, mails):
    """Alice, who proved her address and wants a mail of what she creates."""
    verify_email(alice, mails)
    assert alice.patch("/auth/me", {"notify_on_create": True}).json["notify_on_create"] is True
    return alice


def test_a_task_is_confirmed_with_its_title_its_due_and_where_it_is(asking, mails):
    due = {"due_at": "2030-01-31T23:30:00Z", "time_zone": "Europe/Zurich"}
    task = asking.task("Write the report", **due)
    [letter] = mails.arrived()
    assert (letter.to, letter.subject) == (HERS, "Created: Write the report")
    assert letter.text.split("\n\n") == [
        "Hello alice,",
        "you have a new task at Task API:",
        "Title: Write the report",
        "Due: Friday, 1 February 2030, 00:30 (Europe/Zurich)",
        f"{API}/tasks/{task['id']}",
        FOOT,
    ]
    assert f'href="{task["url"]}"' in letter.html
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
def test_a_due_is_told_by_the_clocks_of_its_zone(asking, mails, due, shown):
    asking.patch("/auth/me", {"time_zone": "Asia/Kathmandu"})
    mails.arrived()
    asking.task(**due)
    [letter] = mails.arrived()
    told_due = [part for part in letter.text.split("\n\n") if part.startswith("Due: ")]
    assert told_due == ([f"Due: {shown}"] if shown else [])


def test_where_there_is_a_front_end_the_link_leads_there(app, asking, mails, monkeypatch):
    monkeypatch.setitem(app.config, "APP_URL", "https://app.example.com")
    task = asking.task()
    [letter] = mails.arrived()
    assert f"https://app.example.com/tasks/{task['id']}" in letter.text.splitlines()
    assert task["url"] not in letter.text


@pytest.mark.parametrize(
    "title", ["a\r\nBcc: eve@example.com", "a\n\nb\u2028c\x85d", "a\t  b\x1fc"]
)
def test_a_title_of_several_lines_is_told_in_one(asking, mails, title):
    asking.task(title)
    [letter] = mails.arrived()
    line = " ".join(title.split())
    assert letter.subject == f"Created: {line}"
    assert f"Title: {line}" in letter.text.splitlines()
    message = letter.message()
    assert (message["To"], message["Bcc"]) == (HERS, None)
    assert message["Subject"] == f"Created: {line}"


def test_a_title_is_told_as_it_is_and_escaped_in_html(asking, mails):
    title = "<b>1 & 2</b> {{ config.SECRET_KEY }} \"'日本 🙂"
    asking.task(title)
    [letter] = mails.arrived()
    assert f"Title: {title}" in letter.text.splitlines()
    assert letter.message()["Subject"] == f"Created: {title}"
    text, _ = letter.message().iter_parts()
    assert f"Title: {title}" in text.get_content().splitlines()
    assert "<b>" not in letter.html
    assert "&lt;b&gt;1 &amp; 2&lt;/b&gt; {{ config.SECRET_KEY }} &#34;&#39;日本 🙂" in letter.html


def test_a_title_that_is_an_address_is_no_link(asking, mails):
    asking.task("https://evil.example/")
    [letter] = mails.arrived()
    assert letter.html.count("href=") == 1
    assert 'href="https://evil' not in letter.html


def test_a_batch_is_confirmed_by_one_mail_of_those_that_it_created(asking, mails):
    kept = asking.task("Kept")["id"]
    mails.arrived()
    operations = [
        {"op": "create", "body": {"title": "First"}},
        {"op": "create", "body": {"title": ""}},
        {"op": "update", "id": kept, "body": {"title": "Renamed"}},
        {"op": "create", "body": {"title": "Second", "due_date": "2030-01-31"}},
    ]
    results = asking.post("/tasks/batch", {"operations": operations}).json["results"]
    assert [result["status"] for result in results] == [201, 422, 200, 201]
    [letter] = mails.arrived()
    assert letter.subject == "Created: 2 tasks"
    assert letter.text.split("\n\n")[1:-1] == [
        "you have new tasks at Task API:",
        "Title: First",
        results[0]["body"]["url"],
        "Title: Second",
        "Due: Thursday, 31 January 2030 (UTC)",
        results[3]["body"]["url"],
    ]


def test_a_batch_that_creates_nothing_is_not_confirmed(asking, mails):
    task_id = asking.task()["id"]
    mails.arrived()
    operations = [{"op": "update", "id": task_id, "body": {"title": "Renamed"}}]
    asking.post("/tasks/batch", {"operations": operations})
    refused = [{"op": "create", "body": {"title": "New"}}, {"op": "delete", "id": 2**40}]
    answer = asking.post("/tasks/batch", {"atomic": True, "operations": refused})
    assert answer.status_code == 404
    assert mails.arrived() == []


def test_who_did_not_ask_is_not_mailed(alice, mails):
    verify_email(alice, mails)
    alice.task()
    assert mails.arrived() == []


def test_no_mail_goes_to_an_address_that_is_not_proved(alice, mails):
    mails.arrived()
    alice.patch("/auth/me", {"notify_on_create": True})
    alice.task()
    assert mails.arrived() == []


@pytest.mark.parametrize(
    "change",
    [{"email_verified": False}, {"notify_on_create": False}, {"disabled_at": User.created_at}],
)
def test_who_is_not_to_be_mailed_any_more_when_it_is_sent_is_not(app, asking, mails, change):
    asking.task()
    with app.app_context():
        db.session.execute(update(User).values(**change))
        db.session.commit()
    assert mails.arrived() == []


def test_what_is_gone_before_it_is_told_is_not_told(asking, mails):
    asking.delete(f"/tasks/{asking.task()['id']}")
    assert mails.arrived() == []


def test_a_personal_token_creates_with_a_mail_too(asking, mails):
    made = asking.post("/auth/tokens", {"name": "script", "scopes": ["tasks:write"]})
    asking.access_token = made.json["token"]
    asking.task("By a script")
    assert recipients_and_subjects(mails.arrived()) == {(HERS, "Created: By a script")}


def test_without_mail_nothing_is_enqueued(asking, no_mail, stored):
    asking.task()
    assert stored(select(OutboxMessage.id)) == []


def test_a_keyed_request_that_is_repeated_is_confirmed_once(asking, mails):
    for _ in range(2):
        assert asking.post("/tasks", {"title": "Once"}, headers=KEY).status_code == 201
    assert len(mails.arrived()) == 1


def test_what_is_refused_is_not_confirmed(asking, mails, stored):
    assert asking.post("/tasks", {"title": ""}).status_code == 422
    assert mails.arrived() == []
    assert stored(select(Task.id)) == []


@pytest.mark.parametrize(("asked", "count"), [(False, 3), (True, 4)])
@pytest.mark.parametrize("many", [False, True])
def test_only_who_asked_pays_a_statement(asking, statements, asked, count, many):
    asking.patch("/auth/me", {"notify_on_create": asked})
    operation = {"op": "create", "body": {"title": "New"}}
    path, body = ("/tasks/batch", {"operations": [operation] * 5}) if many else ("/tasks", {})
    with statements() as seen:
        assert asking.post(path, body or {"title": "New"}).status_code < 300
    assert len(seen) == count, seen


def test_a_mail_whose_process_died_is_sent_again_as_the_same(app, asking, mails, monkeypatch):
    class Killed(BaseException):
        pass

    def send_and_die(*args, **kwargs):
        send(*args, **kwargs)
        raise Killed

    send = sender.send
    asking.task("First")
    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(sender, "send", send_and_die)
        mails.arrived()
    [first] = app.extensions["mailman"].outbox
    with time_machine.travel(clock.now() + leases.LEASE):
        asking.task("Other")
        again, other = (letter.message()["Message-ID"] for letter in mails.arrived()[1:])
    assert again == first.message()["Message-ID"]
    assert again.endswith("@127.0.0.1>")
    assert other != again
