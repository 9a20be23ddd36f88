"""The background thread of the outbox, which starts with the first request of each process."""

import os
import threading

import pytest
from sqlalchemy import select

from app import create_app
from app.db.transactions import commit
from app.extensions import db
from app.outbox import queue
from app.outbox.models import OutboxMessage
from app.outbox.thread import OutboxThread
from tests.waiting import wait_for

TYPE = "forgotten_password"


def outbox_threads():
    return [thread for thread in threading.enumerate() if thread.name == "outbox"]


@pytest.fixture
def serving(app, settings):
    """An application without TESTING, so that requests start the thread."""
    created = create_app(settings | {"TESTING": False})
    yield created
    created.extensions["outbox"].stop()
    with created.app_context():
        db.engine.dispose()


def test_first_request_starts_one_thread(serving, stored):
    assert outbox_threads() == []
    client = serving.test_client()
    for _ in range(3):
        client.get("/health/live")
    assert len(outbox_threads()) == 1
    with serving.app_context():
        queue.enqueue(TYPE, email="nobody@example.com")
        commit()
    wait_for(lambda: stored(select(OutboxMessage.id)) == [], 30)


def test_concurrent_first_requests_start_one_thread(app):
    thread = OutboxThread(app)
    start = threading.Barrier(8)

    def request():
        start.wait()
        thread.ensure_started()

    requests = [threading.Thread(target=request) for _ in range(8)]
    for request_thread in requests:
        request_thread.start()
    for request_thread in requests:
        request_thread.join()
    assert len(outbox_threads()) == 1
    thread.stop()
    assert outbox_threads() == []


def test_requests_of_tests_start_no_thread(client):
    client.get("/health/live")
    assert outbox_threads() == []


def test_forked_process_starts_its_own_thread(app, monkeypatch):
    monkeypatch.setattr(OutboxThread, "_process_due", lambda _: None)
    thread = OutboxThread(app)
    thread.ensure_started()
    child = os.fork()
    if child == 0:
        thread.ensure_started()
        alive = thread._thread.is_alive()
        thread.stop()
        os._exit(0 if alive and not thread._thread.is_alive() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(outbox_threads()) == 1
    thread.stop()
