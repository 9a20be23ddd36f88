"""Imports of other tools' exports, detected from their content."""

import json

import pytest

from app.jobs.formats import READERS
from tests.jobs.conftest import MEDIA_TYPES, tasks_of

TICKTICK = """\ufeff"Date: 2030-01-01+0000"
"Version: 7.1"
"Status:
0 Normal
1 Completed
2 Archived"
"""
TICKTICK_COLUMNS = [
    *("Folder Name", "List Name", "Title", "Kind", "Tags", "Content", "Is Check list"),
    *("Start Date", "Due Date", "Reminder", "Repeat", "Priority", "Status", "Created Time"),
    *("Completed Time", "Order", "Timezone", "Is All Day", "Is Floating", "Column Name"),
    *("Column Order", "View Mode", "taskId", "parentId"),
]


def ticktick(*rows, extra=()):
    """Return a backup of rows given by column name."""
    columns = [*TICKTICK_COLUMNS, *extra]
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    text = "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines)
    return f"{TICKTICK}{text}\n"


def google(*tasks, **extra):
    list_ = {"kind": "tasks#tasks", "title": "My list", "items": [*tasks], **extra}
    return json.dumps({"kind": "tasks#taskLists", "items": [list_]})


def microsoft(*tasks):
    context = "https://graph.microsoft.com/v1.0/$metadata#todoTasks"
    return json.dumps(
        {"@odata.context": context, "value": [{"importance": "normal", **task} for task in tasks]}
    )


def trello(*cards, **extra):
    board = {"id": "1", "name": "Board", "idOrganization": "2", "actions": [{"type": "x"}] * 3}
    return json.dumps({**board, "cards": [*cards], "checklists": [], **extra})


def vikunja(*tasks):
    project = {"id": 1, "title": "Inbox", "tasks": [*tasks], "buckets": None}
    return json.dumps([project, {"id": 2, "title": "Empty", "tasks": None}])


def taskwarrior(*tasks):
    return json.dumps([{"uuid": "1", "description": "a", **task} for task in tasks])


# Each format's smallest file of one task with the title "a".
FILES = {
    "ticktick": ticktick({"Title": "a"}),
    "taskwarrior": taskwarrior({}),
    "google_tasks": google({"title": "a"}),
    "microsoft_todo": microsoft({"title": "a"}),
    "trello": trello({"name": "a"}),
    "vikunja": vikunja({"title": "a"}),
}


@pytest.fixture
def imported(alice, import_file):
    """Import a file, whose format is detected; return the fields of its first task."""

    def read(name, content, *fields):
        job = import_file(alice, content, name)
        assert (job["format"], job["state"]) == (name, "succeeded"), job
        [task] = tasks_of(alice)
        return {field: task[field] for field in fields}

    return read


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_format_is_detected_from_the_content(alice, import_file, name, encoding):
    content = FILES[name].removeprefix("\ufeff").encode(encoding)
    job = import_file(alice, content, name)
    assert (job["format"], job["state"]) == (name, "succeeded")
    assert [task["title"] for task in tasks_of(alice)] == ["a"]


@pytest.mark.parametrize("name", FILES)
def test_format_can_be_named(alice, import_file, name):
    query = {"format": name}
    assert import_file(alice, FILES[name], name, query_string=query)["format"] == name
    assert [task["title"] for task in tasks_of(alice)] == ["a"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("csv", "title,priority\na,high\n"),
        ("json", '[{"title": "a", "description": "uuid"}]'),
        ("json", '{"tasks": [{"title": "a", "description": "tasks#taskLists"}]}'),
        ("json", "[]"),
        ("json", '{"tasks": []}'),
    ],
)
def test_own_files_are_not_mistaken(alice, import_file, name, content):
    job = import_file(alice, content, name)
    assert (job["format"], job["state"]) == (name, "succeeded")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"Priority": "5", "Content": "b"}, {"priority": "high", "description": "b"}),
        ({"Priority": "0"}, {"priority": "none", "description": None}),
        ({"Status": "1"}, {"status": "completed"}),
        ({"Status": "2"}, {"status": "completed"}),
        ({"Status": "-1"}, {"status": "cancelled"}),
        (
            {
                "Due Date": "2030-01-30T23:00:00+0000",
                "Timezone": "Europe/Berlin",
                "Is All Day": "true",
            },
            {"due_date": "2030-01-31", "due_at": None},
        ),
        (
            {"Due Date": "2030-01-30T23:00:00+0000", "Timezone": "Europe/Berlin"},
            {
                "due_date": None,
                "due_at": "2030-01-30T23:00:00.000000Z",
                "time_zone": "Europe/Berlin",
            },
        ),
    ],
)
def test_ticktick(imported, row, expected):
    assert imported("ticktick", ticktick({"Title": "a", **row}), *expected) == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (
            {"due": "20300131T230000Z", "priority": "H", "status": "pending"},
            {"due_at": "2030-01-31T23:00:00.000000Z", "priority": "high", "status": "pending"},
        ),
        ({"status": "completed", "priority": "L"}, {"status": "completed", "priority": "low"}),
        ({"status": "waiting", "wait": "20300131T230000Z"}, {"status": "pending"}),
        ({"status": "pending", "start": "20300101T100000Z"}, {"status": "in_progress"}),
        (
            {"annotations": [{"entry": "x", "description": "b"}, {"description": "c"}]},
            {"description": "b\n\nc"},
        ),
    ],
)
def test_taskwarrior(imported, task, expected):
    assert imported("taskwarrior", taskwarrior(task), *expected) == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"due": "2030-01-31T00:00:00Z"}, {"due_date": "2030-01-31", "due_at": None}),
        ({"status": "needsAction", "notes": "b"}, {"status": "pending", "description": "b"}),
        ({"status": "completed", "hidden": True}, {"status": "completed"}),
    ],
)
@pytest.mark.parametrize("has_lists", [True, False])
def test_google_tasks(imported, task, expected, has_lists):
    content = google({"title": "a", **task})
    if not has_lists:
        content = json.dumps(json.loads(content)["items"][0])
    assert imported("google_tasks", content, *expected) == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"status": "inProgress", "importance": "high"}, {"status": "in_progress"}),
        ({"importance": "high"}, {"priority": "high"}),
        ({"status": "completed"}, {"status": "completed", "priority": "none"}),
        ({"body": {"content": "b", "contentType": "text"}}, {"description": "b"}),
        (
            {"dueDateTime": {"dateTime": "2030-01-31T00:00:00.0000000", "timeZone": "UTC"}},
            {"due_date": "2030-01-31", "due_at": None},
        ),
        (
            {"dueDateTime": {"dateTime": "2030-01-30T23:00:00.0000000", "timeZone": "UTC"}},
            {"due_date": "2030-01-31", "due_at": None},
        ),
        (
            {
                "dueDateTime": {
                    "dateTime": "2030-01-31T09:00:00.0000000",
                    "timeZone": "Tokyo Standard Time",
                }
            },
            {"due_date": None, "due_at": "2030-01-31T00:00:00.000000Z"},
        ),
    ],
)
def test_microsoft_todo(alice, imported, task, expected):
    assert alice.patch("/auth/me", {"time_zone": "Europe/Berlin"}).status_code == 200
    assert imported("microsoft_todo", microsoft({"title": "a", **task}), *expected) == expected


@pytest.mark.parametrize("wrap", [lambda lists: lists, lambda lists: {"value": lists}])
def test_microsoft_todo_in_lists(alice, import_file, wrap):
    task = {"title": "a", "importance": "low"}
    lists = [{"displayName": "Home", "tasks": [task]}, {"displayName": "Work", "tasks": [task]}]
    job = import_file(alice, json.dumps(wrap(lists)), "microsoft_todo")
    assert (job["format"], job["state"]) == ("microsoft_todo", "succeeded")
    assert [task["priority"] for task in tasks_of(alice)] == ["low", "low"]


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({"desc": "b"}, {"description": "b", "status": "pending"}),
        (
            {"due": "2030-01-31T09:00:00.000Z", "dueComplete": True},
            {"due_at": "2030-01-31T09:00:00.000000Z", "status": "completed"},
        ),
    ],
)
def test_trello(imported, card, expected):
    assert imported("trello", trello({"name": "a", **card}), *expected) == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"done": True, "priority": 5}, {"status": "completed", "priority": "urgent"}),
        (
            {"due_date": "0001-01-01T00:00:00Z", "priority": 0},
            {"due_at": None, "priority": "none"},
        ),
        (
            {"due_date": "2030-01-31T10:00:00+01:00", "description": "<p>b</p>"},
            {"due_at": "2030-01-31T09:00:00.000000Z", "description": "<p>b</p>"},
        ),
    ],
)
def test_vikunja(imported, task, expected):
    assert imported("vikunja", vikunja({"title": "a", **task}), *expected) == expected


@pytest.mark.parametrize(
    ("name", "content", "not_read"),
    [
        (
            "ticktick",
            ticktick({"Title": "a", "List Name": "Home", "Tags": "b", "Is Check list": "N"}),
            {"List Name": 1, "Tags": 1},
        ),
        (
            "taskwarrior",
            taskwarrior({"tags": ["b"], "project": "c", "urgency": 0}),
            {"uuid": 1, "tags": 1, "project": 1},
        ),
        (
            "google_tasks",
            google({"title": "a", "parent": "b", "links": []}, {"title": "c", "parent": "b"}),
            {"kind": 2, "title": 1, "parent": 2},
        ),
        (
            "microsoft_todo",
            microsoft({"title": "a", "categories": ["b"], "recurrence": None}),
            {"@odata.context": 1, "categories": 1},
        ),
        (
            "trello",
            trello({"name": "a", "labels": [{"name": "b"}], "pos": 1, "idMembers": []}),
            {
                "id": 1,
                "name": 1,
                "idOrganization": 1,
                "actions": 1,
                "checklists": 1,
                "labels": 1,
                "pos": 1,
            },
        ),
        (
            "vikunja",
            vikunja({"title": "a", "created": "2030-01-01T00:00:00Z", "percent_done": 0}),
            {"id": 2, "title": 2, "buckets": 1, "created": 1},
        ),
    ],
)
def test_what_is_not_read_is_named(alice, import_file, report, name, content, not_read):
    result = report(alice, import_file(alice, content, name))
    assert result["rows"] == []
    assert result["not_read"] == not_read


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("taskwarrior", taskwarrior({"colour": "red"})),
        ("google_tasks", google({"title": "a", "colour": "red"})),
        ("microsoft_todo", microsoft({"title": "a", "colour": "red"})),
        ("trello", trello({"name": "a", "colour": "red"})),
        ("vikunja", vikunja({"title": "a", "colour": "red"})),
        ("json", '[{"title": "a", "colour": "red"}]'),
    ],
)
def test_unknown_member_is_refused_by_name(alice, import_file, report, name, content):
    result = report(alice, import_file(alice, content, name))
    assert (result["created"], result["refused"]) == (0, 1)
    assert result["rows"][0]["errors"] == [{"pointer": "/colour", "detail": "Unknown field."}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ticktick", ticktick({"Title": "a"}, extra=["Colour"])),
        ("todoist", "TYPE,CONTENT,Colour\ntask,a,red\n"),
        ("csv", "title,Colour\na,red\n"),
    ],
)
def test_unknown_column_is_refused_by_name(alice, import_file, name, content):
    job = import_file(alice, content, name)
    assert (job["format"], job["state"]) == (name, "failed")
    [error] = job["problem"]["errors"]
    assert error["detail"] == "The header has an unknown column: 'Colour'."
    assert tasks_of(alice) == []


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("ticktick", ticktick({"Title": "a", "Kind": "NOTE"}), "note"),
        ("taskwarrior", taskwarrior({"status": "deleted"}), "deleted task"),
        ("taskwarrior", taskwarrior({"status": "recurring", "recur": "P1D"}), "recurring task"),
        ("google_tasks", google({"title": "a", "deleted": True}), "deleted task"),
        ("trello", trello({"name": "a", "closed": True}), "archived card"),
        ("trello", trello({"name": "a", "isTemplate": True}), "card template"),
        ("todoist", "TYPE,CONTENT\nsection,a\n", "section"),
        ("todoist", "TYPE,CONTENT\nnote,of nothing\n", "note"),
    ],
)
def test_row_that_is_no_task_is_skipped_and_reported(
    alice, import_file, report, name, content, kind
):
    result = report(alice, import_file(alice, content, name))
    assert (result["created"], result["refused"], result["skipped"]) == (0, 0, 1)
    [row] = result["rows"]
    assert (row["row"], row["skipped"]) == (1, kind)
    assert tasks_of(alice) == []


@pytest.mark.parametrize(
    ("name", "content", "pointer"),
    [
        ("ticktick", ticktick({"Title": "a", "Priority": "9"}), "/priority"),
        ("ticktick", ticktick({"Title": "a", "Status": "9"}), "/status"),
        ("ticktick", ticktick({"Title": "a", "Due Date": "soon"}), "/due_at"),
        (
            "ticktick",
            ticktick({"Title": "a", "Due Date": "2030-01-31", "Timezone": "Mars/Base"}),
            "/time_zone",
        ),
        (
            "ticktick",
            ticktick(
                {
                    "Title": "a",
                    "Due Date": "0001-01-01T00:00:00+0000",
                    "Timezone": "America/Lima",
                    "Is All Day": "true",
                }
            ),
            "/due_at",
        ),
        ("ticktick", ticktick({"Title": ""}), "/title"),
        ("taskwarrior", taskwarrior({"due": "soon"}), "/due"),
        ("taskwarrior", taskwarrior({"status": "lost"}), "/status"),
        ("taskwarrior", taskwarrior({"priority": ["H"]}), "/priority"),
        ("taskwarrior", taskwarrior({"annotations": "b"}), "/annotations"),
        ("taskwarrior", taskwarrior({"description": None}), "/title"),
        ("google_tasks", google({"title": 3}), "/title"),
        ("google_tasks", google({"title": "a", "status": "done"}), "/status"),
        ("microsoft_todo", microsoft({"title": "a", "importance": "x"}), "/importance"),
        ("microsoft_todo", microsoft({"title": "a", "body": "b"}), "/body"),
        (
            "microsoft_todo",
            microsoft(
                {"title": "a", "dueDateTime": {"dateTime": "2030-01-31", "timeZone": "Mars"}}
            ),
            "/time_zone",
        ),
        ("trello", trello({"name": "a", "due": 3}), "/due"),
        ("trello", trello(3), ""),
        ("vikunja", vikunja({"title": "a", "priority": 9}), "/priority"),
        ("vikunja", vikunja({"title": "a", "due_date": {}}), "/due_date"),
    ],
)
def test_invalid_row_is_refused(alice, import_file, report, name, content, pointer):
    job = import_file(alice, content, name)
    assert (job["format"], job["state"]) == (name, "succeeded"), job
    [row] = report(alice, job)["rows"]
    assert [error["pointer"] for error in row["errors"]] == [pointer]


@pytest.mark.parametrize("name", [name for name in FILES if name != "ticktick"])
@pytest.mark.parametrize("content", ["{}", "[3", "null", '{"a": [}', '{"cards": 3}', '"x"', "[[]]"])
def test_file_of_another_structure_fails_or_has_invalid_rows(
    alice, import_file, report, name, content
):
    job = import_file(alice, content, name, query_string={"format": name})
    assert job["state"] == "failed" or report(alice, job)["created"] == 0


def test_long_values_that_are_not_read_are_skipped_piece_by_piece(alice, import_file, report):
    actions = [{"type": "x", "text": "y" * 1000}] * 3000
    content = trello({"name": "a"}, actions=actions, powerUps={"a": actions})
    result = report(alice, import_file(alice, content, "trello"))
    assert (result["created"], result["not_read"]["powerUps"]) == (1, 1)


@pytest.mark.parametrize("name", [b"\xff", b"\xed\xa0\x80", b"\\ud800"])
def test_name_that_is_not_read_may_be_invalid_text(alice, import_file, report, name):
    content = trello({"name": "a"}, other=1).encode().replace(b"other", name)
    result = report(alice, import_file(alice, content, "trello"))
    shown = {b"\xff": r"\udcff", b"\xed\xa0\x80": r"\udced\udca0\udc80"}.get(name, r"\ud800")
    assert (result["created"], result["not_read"].get(shown)) == (1, 1)
    calendar = b"BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:a\nX-%b:b\nEND:VTODO\nBEGIN:%b\nEND:%b\n"
    content = calendar.replace(b"%b", name) + b"END:VCALENDAR\n"
    result = report(alice, import_file(alice, content, "icalendar"))
    assert (result["created"], result["skipped"], len(result["not_read"])) == (1, 1, 1)


def test_each_format_has_a_media_type():
    assert MEDIA_TYPES.keys() == READERS.keys()
