"""Fixtures for exports and imports."""

import pytest

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv",
    "todoist": "text/csv",
    "icalendar": "text/calendar",
    "ticktick": "text/csv",
    "taskwarrior": "application/json",
    "google_tasks": "application/json",
    "microsoft_todo": "application/json",
    "trello": "application/json",
    "vikunja": "application/json",
}


@pytest.fixture
def import_file(drain):
    """Import a file; return the finished job."""

    def run(user, content, name, **kwargs):
        body = content.encode() if isinstance(content, str) else content
        response = user.post("/imports", data=body, content_type=MEDIA_TYPES[name], **kwargs)
        assert response.status_code == 202, response.text
        drain()
        return user.get(f"/jobs/{response.json['id']}").json

    return run


@pytest.fixture
def export_file(drain):
    """Export the tasks of a user; return the response with the file."""

    def run(user, name):
        job = user.post("/exports", {"format": name})
        assert job.status_code == 202, job.text
        drain()
        response = user.get(f"/jobs/{job.json['id']}/result")
        assert response.status_code == 200, response.text
        return response

    return run


@pytest.fixture
def report():
    """Return the report of an import."""

    def read(user, job):
        response = user.get(f"/jobs/{job['id']}/result")
        assert response.status_code == 200, response.text
        return response.json

    return read


def summary(*, created=0, refused=0, skipped=0, not_read=None, rows=()):
    """Return the report of an import."""
    return {
        "created": created,
        "refused": refused,
        "skipped": skipped,
        "not_read": not_read or {},
        "rows": [*rows],
    }


def tasks_of(user):
    """Return all tasks of a user, sorted by position and creation."""
    page = user.get("/tasks", query_string={"sort": "position", "limit": 200}).json
    assert page["next_cursor"] is None
    return page["data"]
