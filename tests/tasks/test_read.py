"""Reading one task."""

from tests.problems import assert_problem, parameters


def test_a_task_reads_alike_at_creation_by_its_id_and_in_a_list(alice):
    task = alice.task(description="Two litres", priority="high", due_date="2030-01-31")
    assert alice.get(f"/tasks/{task['id']}").json == task
    assert alice.get("/tasks").json == {"data": [task], "next_cursor": None}


def test_every_field_is_there_even_where_it_is_empty(alice):
    bare = alice.task()
    full = alice.task(
        description="x", due_at="2030-01-31T09:00:00Z", time_zone="UTC", status="completed"
    )
    assert alice.get(f"/tasks/{bare['id']}").json.keys() == full.keys()


def test_whatever_shows_a_task_says_that_it_is_not_deleted(alice):
    created = alice.task()
    path = f"/tasks/{created['id']}"
    operation = {"op": "update", "id": created["id"], "body": {"priority": "low"}}
    batch = alice.post("/tasks/batch", {"operations": [operation]}).json
    told = [
        created,
        alice.put(path, {"title": "Write", "status": "pending"}).json,
        alice.patch(path, {"priority": "high"}).json,
        alice.put(f"{path}/status", {"status": "completed"}).json,
        batch["results"][0]["body"],
        alice.get(path).json,
        *alice.get("/tasks").json["data"],
        *alice.get("/tasks?q=write").json["data"],
        *alice.get("/auth/me/export").json["tasks"],
    ]
    assert len(told) == 9
    for task in told:
        assert [*task][-3:] == ["completed_at", "deleted_at", "url"]
        assert task["deleted_at"] is None


def test_an_unknown_id_is_not_found_and_nothing_else_is_told(alice):
    answer = alice.get("/tasks/999999")
    assert_problem(answer, 404, "not_found")
    assert answer.json["instance"] == "/api/v1/tasks/999999"
    assert "errors" not in answer.json


def test_the_largest_id_that_a_row_may_have_is_looked_for(alice):
    assert_problem(alice.get(f"/tasks/{2**63 - 1}"), 404, "not_found")


def test_a_query_is_refused_by_name(alice):
    task = alice.task()
    answer = alice.get(f"/tasks/{task['id']}?fields=__class__&expand=owner")
    assert parameters(answer) == {"fields", "expand"}


def test_an_empty_query_asks_nothing(alice):
    task = alice.task()
    assert alice.get(f"/tasks/{task['id']}?&").json == task
