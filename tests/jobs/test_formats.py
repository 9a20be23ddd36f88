"""The formats by themselves: what is written is read again, and what others write is understood."""

import csv
import io
import json
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import icalendar
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.fields import time_zones
from app.jobs.formats import READERS, WRITERS
from app.jobs.formats.rows import MOST, Refused, Unreadable
from app.tasks.models import Priority, Status
from app.tasks.schemas import CREATE_TASK

NOW = datetime(2026, 11, 21, 9, 0, 0, 123456, UTC)
SHOWN = {
    "id": 7,
    "version": 3,
    "created_by": 1,
    "created_at": NOW,
    "updated_at": NOW,
    "deleted_at": None,
    "url": "https://api.example.com/api/v1/tasks/7",
}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=150)
instants = st.datetimes(timezones=st.just(UTC))


@st.composite
def tasks(draw):
    """A task as the list shows it, of any that the API takes."""
    dues = {"due_date": None, "due_at": None}
    dues |= draw(
        st.just({})
        | st.fixed_dictionaries({"due_date": st.dates()})
        | st.fixed_dictionaries({"due_at": instants})
    )
    status = draw(st.sampled_from(list(Status)))
    return {
        **SHOWN,
        **dues,
        "title": draw(texts.map(str.strip).filter(bool)),
        "description": draw(st.none() | texts),
        "status": status.value,
        "priority": draw(st.sampled_from(list(Priority))).name,
        "time_zone": draw(st.none() | st.sampled_from(sorted(time_zones()))),
        "position": draw(st.from_regex(r"[0-9A-Za-z]{1,20}", fullmatch=True)),
        "completed_at": NOW if status == "completed" else None,
    }


def written(name, rows):
    writer = WRITERS[name]()
    return writer.begin + writer.between.join(map(writer.write, rows)) + writer.end


def read(name, content, time_zone="UTC"):
    """What a file says, row by row: what CREATE_TASK makes of it, or why it is refused."""
    reader, found = READERS[name], []
    for row in reader.rows(io.BytesIO(content)):
        try:
            found.append(reader.fields(row.raw, time_zone))
        except Refused as error:
            found.append(error.faults)
    return found


def expected(name, task):
    """What a format carries of a task."""
    told = {key: value for key, value in task.items() if key in CREATE_TASK.fields}
    if name == "csv":
        told["description"] = told["description"] or None  # an empty cell says nothing
    if name == "icalendar":
        for field in ("title", "description"):
            if told[field] is not None:
                text = re.sub(r"\r\n?", "\n", told[field])
                told[field] = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text)
        told["title"] = told["title"].strip()
        if told["due_at"]:
            told["due_at"] = told["due_at"].replace(microsecond=0)
    return told


@pytest.mark.parametrize("name", list(WRITERS))
@given(rows=st.lists(tasks(), max_size=3), shown=st.booleans())
def test_what_is_written_is_read_again(name, rows, shown):
    rows = [row for row in rows if expected(name, row)["title"]]
    # A list has times as JSON tells them, or as the database's driver does.
    given = orjson.loads(orjson.dumps(rows, option=orjson.OPT_UTC_Z)) if shown else rows
    found = [CREATE_TASK.load(said) for said in read(name, written(name, given))]
    assert found == [expected(name, row) for row in rows]


@pytest.mark.parametrize("name", [*READERS])
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_whatever_a_file_is_it_is_read_or_refused(name, content):
    with suppress(Unreadable):
        assert isinstance(read(name, content), list)


@pytest.mark.parametrize("name", ["json", "csv"])
@given(rows=st.lists(tasks(), min_size=1, max_size=2), data=st.data())
def test_wherever_a_file_is_damaged_it_is_read_or_refused(name, rows, data):
    content = bytearray(written(name, rows))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    with suppress(Unreadable):
        assert isinstance(read(name, bytes(content)), list)


class TestJson:
    @given(rows=st.lists(tasks(), max_size=3))
    def test_an_export_is_json_with_a_task_in_each_line(self, rows):
        content = written("json", rows)
        assert len(json.loads(content)["tasks"]) == len(rows)
        lines = [row.line for row in READERS["json"].rows(io.BytesIO(content))]
        assert lines == list(range(2, 2 + len(rows)))

    @given(
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
    def test_a_file_is_cut_where_its_elements_end(self, elements, indent):
        content = json.dumps(elements, indent=indent).encode()
        rows = [json.loads(row.raw) for row in READERS["json"].rows(io.BytesIO(content))]
        assert rows == elements

    def test_a_file_of_many_blocks_is_cut_the_same(self):
        tasks = [
            {"title": f'\\ " ] }} {number}', "description": "x" * number} for number in range(900)
        ]
        content = json.dumps({"tasks": tasks}, indent=1).encode()
        assert len(content) > 6 * 65536
        assert read("json", content) == tasks

    @pytest.mark.parametrize(
        "content",
        [
            b'["' + b"x" * (2 * MOST) + b'"]',
            b'[{"title": "' + b"x" * (2 * MOST),
            b"[" + b"1" * (2 * MOST) + b"]",
            b'[{"a": [' + b"1," * MOST + b"1]}]",
            b'[{"a": "' + b"\\\\" * MOST,
        ],
        ids=["string", "in a task", "number", "array", "backslashes"],
    )
    def test_a_row_that_is_too_long_is_no_task(self, content):
        with pytest.raises(Unreadable) as refused:
            read("json", content)
        assert "is longer than 1048576 bytes" in str(refused.value.problem.faults)

    def test_space_without_end_is_passed_over(self):
        assert read("json", b" " * 200_000 + b"[1," + b"\n" * 200_000 + b"2]" + b" " * 200_000)


class TestCsv:
    def test_an_export_has_the_columns_of_a_task_and_cells_as_they_are(self):
        task = {
            **dict.fromkeys(("description", "due_date", "time_zone", "completed_at")),
            **SHOWN,
            "title": '=1+1, "or"\nmore',
            "status": "pending",
            "priority": "none",
            "due_at": NOW,
            "position": "a0",
        }
        header, row = csv.reader(io.StringIO(written("csv", [task]).decode(), newline=""))
        assert header == [
            *("id", "title", "description", "status", "priority", "due_date", "due_at"),
            *("time_zone", "position", "version", "created_by", "created_at", "updated_at"),
            *("completed_at", "deleted_at", "url"),
        ]
        assert row[1] == '=1+1, "or"\nmore'
        assert row[6] == "2026-11-21T09:00:00.123456Z"

    def test_columns_stand_in_any_order_and_lines_end_in_any_way(self):
        for ending in ("\n", "\r\n"):
            content = ending.join(["priority,title", "low,a", "", 'high,"b', 'c"', ""])
            rows = list(READERS["csv"].rows(io.BytesIO(content.encode())))
            assert [row.line for row in rows] == [2, 4]
            assert read("csv", content.encode()) == [
                {"priority": "low", "title": "a"},
                {"priority": "high", "title": f"b{ending}c"},
            ]

    def test_a_row_with_other_cells_than_the_header_is_refused(self):
        [few, many, good] = read("csv", b"title,priority\r\na\r\na,low,x\r\na,low\r\n")
        assert few[0]["detail"] == "Has 1 cells, where the header has 2."
        assert many[0]["detail"] == "Has 3 cells, where the header has 2."
        assert good == {"title": "a", "priority": "low"}

    @pytest.mark.parametrize(
        "content",
        [
            b"title\r\n" + b"x" * 140_000 + b"\r\n",
            b"title\r\n" + b"x" * (2 * MOST),
            b'title\r\n"' + b"x\n" * MOST,
            b"title\r\n" + b'"x\n",' * MOST,
            b"title\r\na\rb\r\n",
        ],
        ids=["field", "line", "open quote", "cells", "carriage return"],
    )
    def test_what_no_task_can_be_fails_the_file(self, content):
        with pytest.raises(Unreadable):
            read("csv", content)


HEADER = (
    "TYPE,CONTENT,DESCRIPTION,IS_COLLAPSED,PRIORITY,INDENT,AUTHOR,RESPONSIBLE,DATE,DATE_LANG,"
    "TIMEZONE,DURATION,DURATION_UNIT,DEADLINE,DEADLINE_LANG\r\n"
)


class TestTodoist:
    def read(self, *lines, time_zone="UTC"):
        return read("todoist", (HEADER + "\r\n".join(lines)).encode(), time_zone)

    def test_tasks_take_their_notes_and_the_rest_is_passed_over(self):
        found = self.read(
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
        assert found == [
            {
                "title": "Oil the window @home",
                "description": "With linseed, twice\n\nUsed wax instead\n\nLooks good",
                "priority": "high",
            },
            {"title": "Clean the stove", "description": None, "priority": "none"},
        ]

    @pytest.mark.parametrize(
        ("priority", "word"),
        [("1", "urgent"), ("2", "high"), ("3", "medium"), ("4", "none"), ("", "none")],
    )
    def test_the_first_priority_is_the_highest(self, priority, word):
        assert self.read(f"task,a,,,{priority},1,,,,,,,,,")[0]["priority"] == word

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
    def test_dates_are_days_or_times_in_the_rows_zone_or_the_owners(self, text, zone, due):
        [row] = self.read(f"task,a,,,4,1,,,{text},en,{zone},,,,", time_zone="Europe/Zurich")
        assert {name: value for name, value in row.items() if name in {*due}} == due

    def test_a_deadline_is_the_date_where_there_is_no_other(self):
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
    def test_what_is_not_understood_is_refused_with_the_reason(self, line, pointer):
        [[fault]] = self.read(line)
        assert fault["pointer"] == pointer

    def test_notes_without_end_are_held_no_longer_than_a_description_may_be(self):
        [row] = self.read("task,a,,,1,1,,,,,,,,,", *["note," + "x" * 1000 + ",,,,,,,,,,,,,"] * 3000)
        assert 20_000 < len(row["description"]) <= MOST + 10_000


class TestICalendar:
    def todo(self, *lines, time_zone="UTC"):
        content = "\r\n".join(
            ["BEGIN:VCALENDAR", "BEGIN:VTODO", *lines, "END:VTODO", "END:VCALENDAR", ""]
        )
        [found] = read("icalendar", content.encode(), time_zone)
        return found

    @given(rows=st.lists(tasks(), max_size=3))
    def test_an_export_is_a_calendar_that_others_can_read(self, rows):
        content = written("icalendar", rows)
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
        ("rank", "word"),
        list(enumerate(["none", "urgent", *["high"] * 3, "medium", *["low"] * 4])),
    )
    def test_nine_priorities_become_four(self, rank, word):
        assert self.todo("SUMMARY:a", f"PRIORITY:{rank}")["priority"] == word

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
    def test_a_time_is_read_in_its_zone_or_on_the_owners_clock(self, line, due_at, zone):
        found = self.todo("SUMMARY:a", line, time_zone="Europe/Zurich")
        assert (found["due_at"], found["time_zone"]) == (due_at, zone)

    def test_a_day_is_a_day(self):
        for line in ("DUE;VALUE=DATE:20300131", "DUE:20300131"):
            assert self.todo("SUMMARY:a", line)["due_date"] == "2030-01-31"

    def test_lines_are_unfolded_and_what_is_within_is_not_the_tasks(self):
        found = self.todo(
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
        assert (found["title"], found["description"]) == ("Buy oat, milk", None)
        assert found["status"] == "completed"

    def test_a_character_may_be_folded_in_its_middle(self):
        content = "BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:é\nEND:VTODO\nEND:VCALENDAR\n".encode()
        [found] = read("icalendar", content.replace(b"\xc3\xa9", b"\xc3\n \xa9"))
        assert found["title"] == "é"

    def test_what_is_no_vtodo_is_passed_over(self):
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
    def test_what_is_not_understood_is_refused_with_the_reason(self, line):
        found = self.todo("SUMMARY:a", line)
        assert isinstance(found, list)
        assert found[0]["detail"]

    @pytest.mark.parametrize(
        "content",
        [
            b"BEGIN:VCALENDAR\n" + b"BEGIN:X\n" * 40,
            b"BEGIN:VCALENDAR\nBEGIN:VTODO\nEND:VCALENDAR\nEND:VTODO\n",
            b"BEGIN:VCALENDAR\nEND:VCALENDAR\nSUMMARY:x\n",
            b"BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:" + b"x" * (2 * MOST),
            b"BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:" + b"x\n " * MOST,
        ],
        ids=["nesting", "crossed", "outside", "line", "folds"],
    )
    def test_what_no_calendar_can_be_fails_the_file(self, content):
        with pytest.raises(Unreadable):
            read("icalendar", content)


def test_days_and_instants_at_the_ends_of_the_calendar_go_out_and_in():
    edges = [
        {"due_date": date.min, "due_at": None},
        {"due_date": date.max, "due_at": None},
        {"due_date": None, "due_at": datetime.min.replace(tzinfo=UTC)},
        {"due_date": None, "due_at": datetime.max.replace(tzinfo=UTC, microsecond=0)},
        {"due_date": None, "due_at": NOW + timedelta(microseconds=1)},
    ]
    rest = {"description": None, "status": "pending", "priority": "none", "time_zone": None}
    rows = [
        {**SHOWN, **rest, "title": "x", "position": "a0", "completed_at": None, **edge}
        for edge in edges
    ]
    for name in WRITERS:
        found = [CREATE_TASK.load(said) for said in read(name, written(name, rows))]
        assert found == [expected(name, row) for row in rows]
