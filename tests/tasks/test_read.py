"""Reading of one task."""

from tests.problems import assert_problem, parameters


def test_task_has_same_representation_everywhere(alice):
    task = alice.task(description="Two litres", priority="high", due_date="2030-01-31")
    assert alice.get(f"/tasks/{task['id']}").json == task
    assert alice.get("/tasks").json == {"data": [task], "next_cursor": None}


def test_empty_fields_are_included(alice):
    minimal = alice.task()
    full = alice.task(
        description="x", due_at="2030-01-31T09:00:00Z", time_zone="UTC", status="completed"
    )
    assert alice.get(f"/tasks/{minimal['id']}").json.keys() == full.keys()


def test_every_representation_has_deleted_at(alice):
    created = alice.task()
    path = f"/tasks/{created['id']}"
    operation = {"op": "update", "id": created["id"], "body": {"priority": "low"}}
    batch = alice.post("/tasks/batch", {"operations": [operation]}).json
    representations = [
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
    assert len(representations) == 9
    for task in representations:
        assert [*task][-3:] == ["completed_at", "deleted_at", "url"]
        assert task["deleted_at"] is None


def test_unknown_id_is_not_found(alice):
    response = alice.get("/tasks/999999")
    assert_problem(response, 404, "not_found")
    assert response.json["instance"] == "/api/v1/tasks/999999"
    assert "errors" not in response.json


def test_largest_id_is_not_found(alice):
    assert_problem(alice.get(f"/tasks/{2**63 - 1}"), 404, "not_found")


def test_unknown_query_parameters_are_rejected(alice):
    task = alice.task()
    response = alice.get(f"/tasks/{task['id']}?fields=__class__&expand=owner")
    assert parameters(response) == {"fields", "expand"}


def test_empty_query_is_ignored(alice):
    task = alice.task()
    assert alice.get(f"/tasks/{task['id']}?&").json == task
