"""Jobs of accounts that are deleted in the middle: they end without a trace."""

import logging
from itertools import count

import pytest
from sqlalchemy import select

from app.jobs import exports, files, reports
from app.jobs.models import FilePiece, Job
from app.outbox.models import OutboxMessage
from app.tasks.models import Task
from tests.auth.test_deletion_races import deleted_before
from tests.driver import hooks
from tests.waiting import drain

CSV = "title\nMilk\nBread\n,\nCake\nTea\n"


def start_import(account):
    return account.post("/imports", data=CSV, content_type="text/csv")


def start_invalid_import(account):
    return account.post("/imports", data="title\nMilk\n", content_type="application/json")


def start_export(account):
    for number in range(5):
        account.task(f"Task {number}")
    return account.post("/exports", {"format": "json"})


@pytest.fixture
def hooked(app, monkeypatch):
    # Several batches and pieces.
    monkeypatch.setattr(reports, "BATCH_SIZE", 2)
    monkeypatch.setattr(exports, "BATCH_SIZE", 2)
    monkeypatch.setattr(files, "PIECE_SIZE", 100)
    with hooks(app, monkeypatch):
        yield app


@pytest.mark.parametrize("start", [start_import, start_invalid_import, start_export])
def test_job_of_an_account_deleted_before_any_statement_ends(
    hooked, accounts, stored, caplog, start
):
    for number in count(1):
        account = accounts.make(f"leaving{number}")
        assert start(account).status_code == 202
        with hooked.app_context(), deleted_before(hooked, number, account.id) as interruption:
            drain()
        if not interruption.happened:
            break
        for column in (OutboxMessage.id, Job.id, FilePiece.job_id, Task.id):
            assert stored(select(column)) == []
    assert number > 20
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
