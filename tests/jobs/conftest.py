"""Jobs in tests: asked for over HTTP, done by the outbox of the test."""

import pytest

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv",
    "todoist": "text/csv",
    "icalendar": "text/calendar",
}


@pytest.fixture
def import_file(drain):
    """Sends a file, has it imported, and returns the job as it is then."""

    def run(account, content, name, **kwargs):
        body = content.encode() if isinstance(content, str) else content
        sent = account.post("/imports", data=body, content_type=MEDIA_TYPES[name], **kwargs)
        assert sent.status_code == 202, sent.text
        drain()
        return account.get(f"/jobs/{sent.json['id']}").json

    return run


@pytest.fixture
def export_file(drain):
    """Has the tasks of an account exported, and returns the file."""

    def run(account, name):
        asked = account.post("/exports", {"format": name})
        assert asked.status_code == 202, asked.text
        drain()
        answer = account.get(f"/jobs/{asked.json['id']}/result")
        assert answer.status_code == 200, answer.text
        return answer

    return run


@pytest.fixture
def report():
    """Reads what became of an import."""

    def read(account, job):
        answer = account.get(f"/jobs/{job['id']}/result")
        assert answer.status_code == 200, answer.text
        return answer.json

    return read


def tasks_of(account):
    """All tasks of an account, in the order of their places, then of their making."""
    page = account.get("/tasks", query_string={"sort": "position", "limit": 200}).json
    assert page["next_cursor"] is None
    return page["data"]
