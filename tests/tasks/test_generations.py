"""The generation of an account's tasks: what moves it on, what does not, and where it goes."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, func, select, update

from app.auth.models import TaskGeneration, User
from app.extensions import db
from app.tasks.models import Task


def run(app, *statements):
    with app.app_context():
        for statement in statements:
            db.session.execute(statement)
        db.session.commit()


def held(answer):
    return {"If-None-Match": answer.headers["ETag"]}


def generation(stored, account):
    [(found,)] = stored(
        select(TaskGeneration.generation).where(TaskGeneration.user_id == account.id)
    )
    return found


def test_a_reminder_is_no_change(app, alice, stored):
    task = alice.task("Milk", due_date="2030-01-31")
    first, at_first = alice.get("/tasks"), generation(stored, alice)
    run(app, update(Task).where(Task.id == task["id"]).values(remind_at=datetime.now(UTC)))
    assert generation(stored, alice) == at_first
    assert alice.get("/tasks", headers=held(first)).status_code == 304


def test_a_change_that_was_undone_moves_nothing(alice, stored):
    task = alice.task("Milk")
    first = generation(stored, alice)
    missing = {"op": "delete", "id": task["id"] + 1}
    change = {"op": "update", "id": task["id"], "body": {"title": "Bread"}}
    refused = alice.post("/tasks/batch", {"atomic": True, "operations": [change, missing]})
    assert refused.status_code == 404
    assert generation(stored, alice) == first
    assert alice.patch(f"/tasks/{task['id']}", {"title": "Milk"}).json["version"] == 1
    assert generation(stored, alice) == first


def test_after_a_return_to_a_backup_no_tag_stands_for_something_else(app, alice, stored):
    task = alice.task("Milk")
    path, kept = f"/tasks/{task['id']}", generation(stored, alice)
    seen = {alice.get("/tasks").headers["ETag"]}
    for title in ("Bread", "Butter"):
        row = update(TaskGeneration).where(TaskGeneration.user_id == alice.id)
        run(app, row.values(generation=kept))
        assert alice.patch(path, {"title": title}).status_code == 200
        answer = alice.get("/tasks")
        assert [row["title"] for row in answer.json["data"]] == [title]
        assert answer.headers["ETag"] not in seen
        seen.add(answer.headers["ETag"])


@pytest.mark.parametrize("way", ["own", "administrator's"])
def test_an_account_goes_with_its_tasks_and_their_generation(alice, bob, admin, stored, way):
    for account in (alice, bob):
        account.task("Milk")
        account.task("Bread")
    gone = alice.delete("/auth/me") if way == "own" else admin.delete(f"/users/{alice.id}")
    assert gone.status_code == 204
    assert stored(select(TaskGeneration.user_id)) == [(bob.id,)]
    assert stored(select(func.count()).select_from(Task)) == [(2,)]


def test_accounts_go_while_their_tasks_are_changed(accounts, at_once, stored):
    for number in range(5):
        account = accounts.make(f"going{number}")
        ids = [account.task("Milk")["id"] for _ in range(3)]
        changes = [("PATCH", f"/tasks/{task_id}", {"title": "New"}) for task_id in ids]
        requests = [("DELETE", "/auth/me", None), *changes, ("POST", "/tasks", {"title": "Late"})]
        gone, *answers = at_once(account, requests)
        assert gone.status_code == 204
        assert {answer.status_code for answer in answers} <= {200, 201, 401, 404, 409}
        for left in (User.id, Task.id, TaskGeneration.user_id):
            assert stored(select(left)) == []


def test_two_administrators_change_the_tasks_of_two_owners_at_once(admin, alice, bob, at_once):
    mine = [alice.task("Milk")["id"] for _ in range(10)]
    yours = [bob.task("Bread")["id"] for _ in range(10)]
    for number in range(8):
        bodies = [
            {"op": "update", "id": task_id, "body": {"title": f"{number}"}}
            for pair in zip(mine, yours, strict=True)
            for task_id in pair
        ]
        backwards = [
            {"op": "update", "id": task_id, "body": {"description": f"{number}"}}
            for pair in zip(yours[5:], mine[5:], strict=True)
            for task_id in pair
        ]
        halves = (bodies[:10], backwards)
        requests = [("POST", "/tasks/batch", {"operations": half}) for half in halves]
        for answer in at_once(admin, requests):
            assert answer.status_code == 200, answer.text
            assert {result["status"] for result in answer.json["results"]} == {200}


def test_tasks_that_go_by_the_hand_of_the_database_move_their_owners_alone(app, alice, bob, stored):
    for account in (alice, bob):
        account.task("Milk")
    mine, yours = generation(stored, alice), generation(stored, bob)
    run(app, delete(Task).where(Task.created_by == bob.id))
    assert generation(stored, alice) == mine
    assert generation(stored, bob) > yours
