"""Deletion of an account during its requests and messages: no deadlock, no 409, no 5xx."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import count

import pytest
from sqlalchemy import func, select, text

from app.api.models import IdempotencyRecord
from app.auth.models import User
from app.auth.services.account import remove_user
from app.db.transactions import commit
from app.extensions import db
from app.jobs.models import FilePiece, Job
from app.outbox.models import OutboxMessage
from app.tasks.models import Task
from tests.driver import Interruption, before_statement, hooks
from tests.problems import assert_problem
from tests.security.calls import World
from tests.waiting import drain

BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY (pg_blocking_pids(pid))")


def delete_user(app, user_id):
    with app.app_context():
        deleted = remove_user(user_id, actor_id=None)
        commit()
    return deleted


class Deletion:
    """Deletes a user in another thread, and goes on once that is done or waits for this thread."""

    def __init__(self, app, user_id):
        self._app = app
        self._user_id = user_id
        self._threads = ThreadPoolExecutor(1)
        self._result: Future[bool] | None = None

    def __call__(self, connection):
        self._result = self._threads.submit(delete_user, self._app, self._user_id)
        with self._app.app_context():
            engine = db.engine
        if engine.dialect.name == "sqlite":
            wait([self._result], 0.2)
            return
        pid = connection.info.backend_pid
        with engine.connect() as other:
            while not self._result.done() and not other.scalar(BLOCKED, {"pid": pid}):
                wait([self._result], 0.005)

    def finish(self) -> None:
        with self._threads:
            if self._result is not None:
                self._result.result(30)


@contextmanager
def deleted_before(app, number, user_id) -> Iterator[Interruption]:
    deletion = Deletion(app, user_id)
    try:
        with before_statement(number, deletion) as interruption:
            yield interruption
    finally:
        deletion.finish()


@pytest.fixture
def hooked(app, monkeypatch):
    with hooks(app, monkeypatch):
        yield app


@pytest.fixture
def world(hooked, accounts):
    accounts.make("vera", admin=True)  # so that the other administrator can be deleted
    world = World(hooked, accounts)
    yield world
    world.end()


def assert_acceptable(response, route, status):
    if route.method == "GET" and response.status_code == 404:
        return
    if response.status_code == 401 and route.schemes:
        assert_problem(response, 401, "token_revoked")
    elif response.status_code != status:
        # Credentials and emailed tokens of a deleted user.
        assert not route.schemes
        assert response.status_code in {401, 422}, response.text


def check_route(world, route, account, status, number, victim):
    """Delete a user before a statement; return whether the route sends so many."""
    world.restore()
    body = world.body(route, account)
    token = world.session_token(route, account)
    with deleted_before(world.app, number, victim.id) as interruption:
        response = world.call(route, account, token=token, json=body)
    if victim.id == account.id or not route.schemes:
        assert_acceptable(response, route, status)
    else:
        assert response.status_code in {status, 404}, response.text
    return interruption.happened


def callers(world, route):
    """Yield the caller and the user to delete, with the expected status of the call."""
    for account in (world.ada, world.admin):
        world.restore()
        response = world.call(route, account, token=world.session_token(route, account))
        if response.status_code < 400:
            for victim in {account.id: account, world.ada.id: world.ada}.values():
                yield account, victim, response.status_code


@pytest.mark.parametrize("part", range(4))
def test_account_deleted_before_any_statement_of_a_request(world, caplog, part):
    failures = []
    for route in world.routes()[part::4]:
        for account, victim, status in callers(world, route):
            for number in count(1):
                try:
                    happened = check_route(world, route, account, status, number, victim)
                except Exception as error:  # noqa: BLE001  # all are reported
                    place = (route.name, account.username, victim.username, number)
                    failures.append((*place, f"{type(error).__name__}: {error}"[:300]))
                    happened = number < 30
                if not happened:
                    break
    assert not failures, "\n".join(map(str, failures))


KEYED = {
    "/tasks": {"title": "Milk"},
    "/tasks/batch": {"operations": [{"op": "create", "body": {"title": "Milk"}}]},
    "/exports": {"format": "csv"},
}


@pytest.mark.parametrize("path", KEYED)
def test_account_deleted_before_any_statement_of_a_keyed_request(hooked, accounts, stored, path):
    for number in count(1):
        account = accounts.make(f"leaving{number}")
        with deleted_before(hooked, number, account.id) as interruption:
            response = account.post(path, KEYED[path], headers={"Idempotency-Key": "key"})
        if response.status_code >= 400:
            assert_problem(response, 401, "token_revoked")
        if not interruption.happened:
            break
        assert stored(select(User.id)) == stored(select(IdempotencyRecord.user_id)) == []
    assert number > 5


def test_batch_of_own_tasks_locks_its_owner_first(hooked, accounts, stored):
    for number in count(1):
        account = accounts.make(f"leaving{number}")
        operations = [
            {"op": "update", "id": account.task()["id"], "body": {"title": "Bread"}},
            {"op": "delete", "id": account.task()["id"]},
            {"op": "create", "body": {"title": "Milk"}},
        ]
        with deleted_before(hooked, number, account.id) as interruption:
            response = account.post("/tasks/batch", {"operations": operations})
        if not interruption.happened:
            break
        if response.status_code == 200:
            statuses = [result["status"] for result in response.json["results"]]
            assert statuses in ([200, 204, 201], [404, 404, 201])
        else:
            assert_problem(response, 401, "token_revoked")
        assert stored(select(Task.id)) == []
    assert number > 5


def change_time_zone(account):
    account.task(due_date="2999-01-31")
    assert account.patch("/auth/me", {"time_zone": "Asia/Tokyo"}).status_code == 200


def forget_password(account):
    body = {"email": f"{account.username}@example.com"}
    assert account.client.post("/api/v1/auth/password/forgot", json=body).status_code == 202


def resend_verification(account):
    assert account.post("/auth/email/resend").status_code == 202


@pytest.mark.parametrize("enqueue", [change_time_zone, forget_password, resend_verification])
def test_account_deleted_before_any_statement_of_a_message(
    hooked, accounts, mails, stored, caplog, enqueue
):
    for number in count(1):
        account = accounts.make(f"leaving{number}")
        mails.arrived()
        enqueue(account)
        with hooked.app_context(), deleted_before(hooked, number, account.id) as interruption:
            drain()
        if not interruption.happened:
            break
        assert stored(select(User.id)) == stored(select(OutboxMessage.type)) == []
    assert number > 5
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


ROUNDS = 12


def test_accounts_deleted_during_creates_and_jobs(app, accounts, run_parallel, stored, caplog):
    """Rounds of an import and an export that run while tasks are created and the user leaves."""
    statuses = Counter()
    for number in range(ROUNDS):
        account = accounts.make(f"leaving{number}")
        rows = "".join(f"Task {row},{'x' * 200}\n" for row in range(1500))
        file = {"data": f"title,description\n{rows},no title\n", "content_type": "text/csv"}
        assert account.post("/imports", **file).status_code == 202
        assert account.post("/exports", {"format": "json"}).status_code == 202

        def work():
            with app.app_context():
                drain()

        create = ("POST", "/tasks", {"title": "Milk"})
        keyed = [(*create, {"Idempotency-Key": f"{number}.{key}"}) for key in range(3)]
        export = ("POST", "/exports", {"format": "csv"})
        with ThreadPoolExecutor(2) as threads:
            working = [threads.submit(work) for _ in range(2)]
            time.sleep(0.05 * (number % 6))
            *responses, deletion = run_parallel(
                account, [create, create, create, *keyed, export, ("DELETE", "/auth/me", None)]
            )
            for one in working:
                one.result()
        work()  # what was enqueued after the threads had ended
        assert deletion.status_code == 204
        for response in responses:
            statuses[response.status_code] += 1
            if response.status_code >= 400:
                assert_problem(response, 401, "token_revoked")
        for table in (User, Task, Job, FilePiece, OutboxMessage):
            assert stored(select(func.count()).select_from(table)) == [(0,)]
    assert statuses.keys() <= {201, 202, 401}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
