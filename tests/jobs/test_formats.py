"""File formats, without HTTP and the database."""

import csv
import io
import json
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import hypothesis
import icalendar
import orjson
import pytest
from hypothesis import strategies as st

from app.clock import time_zones
from app.errors import Problem
from app.jobs.formats import READERS, WRITERS
from app.jobs.formats.base import MAX_ROW_LENGTH, NotRead, RowError, RowSkipped
from app.tasks.models import Priority, Status
from app.tasks.positions import DIGITS
from app.tasks.schemas import CreateTaskSchema

CREATE_SCHEMA = CreateTaskSchema()
NOW = datetime(2026, 11, 21, 9, 0, 0, 123456, UTC)
READ_ONLY = {
    "id": 7,
    "version": 3,
    "created_by": 1,
    "created_at": NOW,
    "updated_at": NOW,
    "deleted_at": None,
    "url": "https://api.example.com/api/v1/tasks/7",
}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=150)
ZONES = sorted(time_zones())
instants = st.datetimes(timezones=st.just(UTC))


@st.composite
def tasks(draw):
    """Any task that the API accepts, as a row of the list."""
    dues = {"due_date": None, "due_at": None}
    dues |= draw(
        st.just({})
        | st.fixed_dictionaries({"due_date": st.dates()})
        | st.fixed_dictionaries({"due_at": instants})
    )
    status = draw(st.sampled_from(list(Status)))
    return {
        **READ_ONLY,
        **dues,
        "title": draw(texts.map(str.strip).filter(is_title)),
        "description": draw(st.none() | texts),
        "status": status.value,
        "priority": draw(st.sampled_from(list(Priority))).name,
        "time_zone": draw(st.none() | st.sampled_from(ZONES)),
        "position": draw(st.text(DIGITS, min_size=1, max_size=20)),
        "completed_at": NOW if status == "completed" else None,
    }


def write(name, rows):
    writer = WRITERS[name]()
    return writer.header + writer.separator.join(map(writer.write, rows)) + writer.footer


def is_title(text):
    return not CREATE_SCHEMA.validate({"title": text})


def read(name, content, time_zone="UTC"):
    """Return the fields of each row, or its errors, without the skipped ones."""
    reader, rows = READERS[name], []
    for row in rows_of(name, content):
        try:
            rows.append(reader.fields(row.raw, time_zone).values)
        except RowError as error:
            rows.append(error.errors)
        except RowSkipped:
            continue
    return rows


def rows_of(name, content):
    return READERS[name].rows(lambda: io.BytesIO(content), NotRead())


def expected(name, task):
    """Return the fields of a task that a format preserves."""
    fields = {key: value for key, value in task.items() if key in CREATE_SCHEMA.fields}
    if name == "csv":
        fields["description"] = fields["description"] or None  # an empty cell means absent
    if name == "icalendar":
        for field in ("title", "description"):
            if fields[field] is not None:
                text = re.sub(r"\r\n?", "\n", fields[field])
                fields[field] = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text)
        fields["title"] = fields["title"].strip()
        if fields["due_at"]:
            fields["due_at"] = fields["due_at"].replace(microsecond=0)
    return fields


@pytest.mark.parametrize("name", list(WRITERS))
@hypothesis.given(rows=st.lists(tasks(), max_size=3), json_ready=st.booleans())
def test_files_round_trip(name, rows, json_ready):
    rows = [row for row in rows if is_title(expected(name, row)["title"])]
    # Rows of the list have times as strings or datetimes, depending on the database.
    tasks = orjson.loads(orjson.dumps(rows, option=orjson.OPT_UTC_Z)) if json_ready else rows
    loaded = [CREATE_SCHEMA.load(fields) for fields in read(name, write(name, tasks))]
    assert loaded == [expected(name, row) for row in rows]


@pytest.mark.parametrize("name", [*READERS])
@hypothesis.given(content=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_arbitrary_content_is_read_or_rejected(name, content):
    with suppress(Problem):
        assert isinstance(read(name, content), list)


@pytest.mark.parametrize("name", ["json", "csv"])
@hypothesis.given(rows=st.lists(tasks(), min_size=1, max_size=2), data=st.data())
def test_damaged_file_is_read_or_rejected(name, rows, data):
    content = bytearray(write(name, rows))
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] = data.draw(st.integers(0, 255))
    with suppress(Problem):
        assert isinstance(read(name, bytes(content)), list)


class TestJson:
    @hypothesis.given(rows=st.lists(tasks(), max_size=3))
    def test_export_is_json_with_one_task_per_line(self, rows):
        content = write("json", rows)
        assert len(json.loads(content)["tasks"]) == len(rows)
        lines = [row.line for row in rows_of("json", content)]
        assert lines == list(range(2, 2 + len(rows)))

    @hypothesis.given(
        elements=st.lists(
            st.recursive(
                st.none() | st.booleans() | st.integers() | texts,
                lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
                max_leaves=5,
            ),
            max_size=4,
        ),
        indent=st.none() | st.integers(0, 2),
    )
    def test_array_is_split_into_its_elements(self, elements, indent):
        content = json.dumps(elements, indent=indent).encode()
        rows = [json.loads(row.raw) for row in rows_of("json", content)]
        assert rows == elements

    def test_file_of_many_blocks_is_split_correctly(self):
        tasks = [
            {"title": f'\\ " ] }} {number}', "description": "x" * number} for number in range(900)
        ]
        content = json.dumps({"tasks": tasks}, indent=1).encode()
        assert len(content) > 6 * 65536
        assert read("json", content) == tasks

    @pytest.mark.parametrize(
        "content",
        [
            b'["' + b"x" * (2 * MAX_ROW_LENGTH) + b'"]',
            b'[{"title": "' + b"x" * (2 * MAX_ROW_LENGTH),
            b"[" + b"1" * (2 * MAX_ROW_LENGTH) + b"]",
            b'[{"a": [' + b"1," * MAX_ROW_LENGTH + b"1]}]",
            b'[{"a": "' + b"\\\\" * MAX_ROW_LENGTH,
        ],
        ids=["string", "in a task", "number", "array", "backslashes"],
    )
    def test_too_long_row_is_rejected(self, content):
        with pytest.raises(Problem) as raised:
            read("json", content)
        assert "is longer than 1048576 characters" in str(raised.value.errors)

    def test_white_space_is_skipped(self):
        assert read("json", b" " * 200_000 + b"[1," + b"\n" * 200_000 + b"2]" + b" " * 200_000)


class TestCsv:
    def test_export_has_all_columns_and_unescaped_cells(self):
        task = {
            **dict.fromkeys(("description", "due_date", "time_zone", "completed_at")),
            **READ_ONLY,
            "title": '=1+1, "or"\nmore',
            "status": "pending",
            "priority": "none",
            "due_at": NOW,
            "position": "a0",
        }
        header, row = csv.reader(io.StringIO(write("csv", [task]).decode(), newline=""))
        assert header == [
            *("id", "title", "description", "status", "priority", "due_date", "due_at"),
            *("time_zone", "position", "version", "created_by", "created_at", "updated_at"),
            *("completed_at", "deleted_at", "url"),
        ]
        assert row[1] == '=1+1, "or"\nmore'
        assert row[6] == "2026-11-21T09:00:00.123456Z"

    def test_columns_may_be_in_any_order_and_lines_end_with_lf_or_crlf(self):
        for ending in ("\n", "\r\n"):
            content = ending.join(["priority,title", "low,a", "", 'high,"b', 'c"', ""])
            rows = list(rows_of("csv", content.encode()))
            assert [row.line for row in rows] == [2, 4]
            assert read("csv", content.encode()) == [
                {"priority": "low", "title": "a"},
                {"priority": "high", "title": f"b{ending}c"},
            ]

    def test_row_with_wrong_number_of_cells_is_an_error(self):
        [few, many, good] = read("csv", b"title,priority\r\na\r\na,low,x\r\na,low\r\n")
        assert few[0]["detail"] == "The row has 1 cells, but the header has 2."
        assert many[0]["detail"] == "The row has 3 cells, but the header has 2."
        assert good == {"title": "a", "priority": "low"}

    def test_line_may_end_with_cr(self):
        assert read("csv", b"title\ra\rb\r\n") == [{"title": "a"}, {"title": "b"}]

    @pytest.mark.parametrize(
        "content",
        [
            b"title\r\n" + b"x" * 140_000 + b"\r\n",
            b"title\r\n" + b"x" * (2 * MAX_ROW_LENGTH),
            b'title\r\n"' + b"x\n" * MAX_ROW_LENGTH,
            b"title\r\n" + b'"x\n",' * MAX_ROW_LENGTH,
        ],
        ids=["field", "line", "open quote", "cells"],
    )
    def test_unreadable_file_is_rejected(self, content):
        with pytest.raises(Problem):
            read("csv", content)


HEADER = (
    "TYPE,CONTENT,DESCRIPTION,IS_COLLAPSED,PRIORITY,INDENT,AUTHOR,RESPONSIBLE,DATE,DATE_LANG,"
    "TIMEZONE,DURATION,DURATION_UNIT,DEADLINE,DEADLINE_LANG\r\n"
)


class TestTodoist:
    def read(self, *lines, time_zone="UTC"):
        return read("todoist", (HEADER + "\r\n".join(lines)).encode(), time_zone)

    def test_notes_are_appended_and_other_rows_ignored(self):
        tasks = self.read(
            "meta,view_style=list,,,,,,,,,,,,,",
            ",,,,,,,,,,,,,,",
            "note,Of nothing,,,,,,,,,,,,,",
            'task,Oil the window @home,"With linseed, twice",,2,1,Ada (1),,,en,,,None,,',
            "note,Used wax instead,,,,,Ada (1),,2018-06-08T07:02:05.000000Z,,,,,,",
            "note,Looks good,,,,,,,,,,,,,",
            "section,Kitchen,,False,,,,,,,,,,,",
            "task,Clean the stove,,,4,2,,,,,,,,,",
            "project_note,About it all,,,,,,,,,,,,,",
        )
        assert tasks == [
            {
                "title": "Oil the window @home",
                "description": "With linseed, twice\n\nUsed wax instead\n\nLooks good",
                "priority": "high",
            },
            {"title": "Clean the stove", "description": None, "priority": "none"},
        ]

    @pytest.mark.parametrize(
        ("priority", "expected"),
        [("1", "urgent"), ("2", "high"), ("3", "medium"), ("4", "none"), ("", "none")],
    )
    def test_priority_1_is_urgent(self, priority, expected):
        assert self.read(f"task,a,,,{priority},1,,,,,,,,,")[0]["priority"] == expected

    @pytest.mark.parametrize(
        ("text", "zone", "due"),
        [
            ("2030-01-31", "", {"due_date": "2030-01-31"}),
            ("Jan 31 2030", "Europe/Paris", {"due_date": "2030-01-31"}),
            ("31 January 2030", "", {"due_date": "2030-01-31"}),
            ("2030-01-31 09:30", "", {"due_at": "2030-01-31T08:30:00+00:00", "time_zone": None}),
            (
                "Jan 31 2030 3:30 PM",
                "America/New_York",
                {"due_at": "2030-01-31T20:30:00+00:00", "time_zone": "America/New_York"},
            ),
            (
                "2030-01-31T09:30:00.000000Z",
                "",
                {"due_at": "2030-01-31T09:30:00+00:00", "time_zone": None},
            ),
        ],
    )
    def test_times_are_in_the_zone_of_the_row_or_the_user(self, text, zone, due):
        [row] = self.read(f"task,a,,,4,1,,,{text},en,{zone},,,,", time_zone="Europe/Zurich")
        assert {name: value for name, value in row.items() if name in {*due}} == due

    def test_deadline_is_used_without_a_date(self):
        assert self.read("task,a,,,4,1,,,,,,,,2030-01-31,en")[0]["due_date"] == "2030-01-31"

    @pytest.mark.parametrize(
        ("line", "pointer"),
        [
            ("task,a,,,4,1,,,every day,en,,,,,", "/due_date"),
            ("task,a,,,4,1,,,tomorrow,en,,,,,", "/due_date"),
            ("task,a,,,4,1,,,Jul 17,en,,,,,", "/due_date"),
            ("task,a,,,4,1,,,2030-01-31 09:30,en,Mars/Base,,,,", "/time_zone"),
            ("task,a,,,5,1,,,,en,,,,,", "/priority"),
            ("habit,a,,,1,1,,,,en,,,,,", ""),
            ("task,a", ""),
        ],
    )
    def test_invalid_row_is_an_error(self, line, pointer):
        [[error]] = self.read(line)
        assert error["pointer"] == pointer

    def test_notes_are_limited(self):
        [row] = self.read("task,a,,,1,1,,,,,,,,,", *["note," + "x" * 1000 + ",,,,,,,,,,,,,"] * 3000)
        assert 20_000 < len(row["description"]) <= MAX_ROW_LENGTH + 10_000


class TestICalendar:
    def todo(self, *lines, time_zone="UTC"):
        content = "\r\n".join(
            ["BEGIN:VCALENDAR", "BEGIN:VTODO", *lines, "END:VTODO", "END:VCALENDAR", ""]
        )
        [fields] = read("icalendar", content.encode(), time_zone)
        return fields

    @hypothesis.given(rows=st.lists(tasks(), max_size=3))
    def test_export_is_a_valid_calendar(self, rows):
        content = write("icalendar", rows)
        assert all(len(line) <= 75 for line in content.split(b"\r\n"))
        calendar = icalendar.Calendar.from_ical(content)
        assert (calendar["VERSION"], calendar.errors) == ("2.0", [])
        todos = calendar.walk("VTODO")
        assert len(todos) == len(rows)
        for todo, row in zip(todos, rows, strict=True):
            assert todo["UID"] == "task-7@api.example.com"
            assert todo["DTSTAMP"].dt == NOW.replace(microsecond=0)
            assert todo["CREATED"].dt == todo["LAST-MODIFIED"].dt == todo["DTSTAMP"].dt
            assert ("COMPLETED" in todo) == (row["status"] == "completed")
            assert ("DUE" in todo) == bool(row["due_date"] or row["due_at"])

    @pytest.mark.parametrize(
        ("number", "priority"),
        list(enumerate(["none", "urgent", *["high"] * 3, "medium", *["low"] * 4])),
    )
    def test_nine_priorities_become_four(self, number, priority):
        assert self.todo("SUMMARY:a", f"PRIORITY:{number}")["priority"] == priority

    @pytest.mark.parametrize(
        ("line", "due_at", "zone"),
        [
            ("DUE:20300131T090000Z", "2030-01-31T09:00:00+00:00", None),
            ("DUE:20300131T090000", "2030-01-31T08:00:00+00:00", None),
            ("DUE;TZID=Asia/Tokyo:20300131T090000", "2030-01-31T00:00:00+00:00", "Asia/Tokyo"),
            (
                'due;X-A=b;VALUE=DATE-TIME;tzid="Asia/Tokyo":20300131T090000',
                "2030-01-31T00:00:00+00:00",
                "Asia/Tokyo",
            ),
            (
                "DUE;TZID=/example.org/Asia/Tokyo:20300131T090000",
                "2030-01-31T00:00:00+00:00",
                "Asia/Tokyo",
            ),
            (
                "DUE;TZID=Tokyo Standard Time:20300131T090000",
                "2030-01-31T00:00:00+00:00",
                "Asia/Tokyo",
            ),
        ],
    )
    def test_time_is_in_its_zone_or_in_that_of_the_user(self, line, due_at, zone):
        fields = self.todo("SUMMARY:a", line, time_zone="Europe/Zurich")
        assert (fields["due_at"], fields["time_zone"]) == (due_at, zone)

    def test_date_is_a_due_date(self):
        for line in ("DUE;VALUE=DATE:20300131", "DUE:20300131"):
            assert self.todo("SUMMARY:a", line)["due_date"] == "2030-01-31"

    def test_lines_are_unfolded_and_nested_components_ignored(self):
        fields = self.todo(
            "summary:Buy o",
            " at\\, m",
            "\tilk",
            "BEGIN:VALARM",
            "DESCRIPTION:Of the alarm",
            "TRIGGER:nonsense",
            "END:VALARM",
            "RRULE:nonsense",
            "COMPLETED:20300131T090000Z",
        )
        assert (fields["title"], fields["description"]) == ("Buy oat, milk", None)
        assert fields["status"] == "completed"

    @pytest.mark.parametrize(
        ("lines", "status"),
        [
            (["PERCENT-COMPLETE:100"], "completed"),
            (["PERCENT-COMPLETE:99"], "pending"),
            (["PERCENT-COMPLETE:100", "STATUS:IN-PROCESS"], "in_progress"),
        ],
    )
    def test_task_of_100_percent_is_completed_unless_its_status_differs(self, lines, status):
        assert self.todo("SUMMARY:a", *lines)["status"] == status

    def test_line_may_be_folded_within_a_character(self):
        content = "BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:é\nEND:VTODO\nEND:VCALENDAR\n".encode()
        [fields] = read("icalendar", content.replace(b"\xc3\xa9", b"\xc3\n \xa9"))
        assert fields["title"] == "é"

    def test_other_components_are_ignored(self):
        content = b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\nEND:VCALENDAR\n" * 2
        assert read("icalendar", content) == []

    @pytest.mark.parametrize(
        "line",
        [
            "DUE:soon",
            "DUE;VALUE=TEXT:soon",
            "DUE;TZID=Mars/Base:20300131T090000",
            "DUE;TZID=Asia/Tokyo:00010101T000000",
            "PRIORITY:10",
            "PRIORITY:high",
            "STATUS:DONE",
            "SUMMARY:twice",
        ],
    )
    def test_invalid_row_is_an_error(self, line):
        fields = self.todo("SUMMARY:a", line)
        assert isinstance(fields, list)
        assert fields[0]["detail"]

    @pytest.mark.parametrize(
        "content",
        [
            b"BEGIN:VCALENDAR\n" + b"BEGIN:X\n" * 40,
            b"BEGIN:VCALENDAR\nBEGIN:VTODO\nEND:VCALENDAR\nEND:VTODO\n",
            b"BEGIN:VCALENDAR\nEND:VCALENDAR\nSUMMARY:x\n",
            b"BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:" + b"x" * (2 * MAX_ROW_LENGTH),
            b"BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:" + b"x\n " * MAX_ROW_LENGTH,
        ],
        ids=["nesting", "crossed", "outside", "line", "folds"],
    )
    def test_unreadable_file_is_rejected(self, content):
        with pytest.raises(Problem):
            read("icalendar", content)


def test_first_and_last_dates_round_trip():
    edges = [
        {"due_date": date.min, "due_at": None},
        {"due_date": date.max, "due_at": None},
        {"due_date": None, "due_at": datetime.min.replace(tzinfo=UTC)},
        {"due_date": None, "due_at": datetime.max.replace(tzinfo=UTC, microsecond=0)},
        {"due_date": None, "due_at": NOW + timedelta(microseconds=1)},
    ]
    rest = {"description": None, "status": "pending", "priority": "none", "time_zone": None}
    rows = [
        {**READ_ONLY, **rest, "title": "x", "position": "a0", "completed_at": None, **edge}
        for edge in edges
    ]
    for name in WRITERS:
        loaded = [CREATE_SCHEMA.load(fields) for fields in read(name, write(name, rows))]
        assert loaded == [expected(name, row) for row in rows]
