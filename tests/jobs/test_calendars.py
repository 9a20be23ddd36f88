"""Imports of calendars: time zones, long properties, and what is not read."""

import base64

import pytest

from tests.jobs.conftest import summary, tasks_of

BERLIN = """BEGIN:VTIMEZONE
TZID:{name}
BEGIN:STANDARD
DTSTART:16010101T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE"""
FIXED = """BEGIN:VTIMEZONE
TZID:{name}
BEGIN:STANDARD
DTSTART:19700101T000000
{rule}
TZOFFSETFROM:+0530
TZOFFSETTO:+0530
END:STANDARD
END:VTIMEZONE"""


def todo(*lines):
    return "\n".join(["BEGIN:VTODO", "SUMMARY:a", *lines, "END:VTODO"])


def calendar(*components):
    return "\n".join(["BEGIN:VCALENDAR", *components, "END:VCALENDAR", ""])


@pytest.fixture
def due(alice, import_file, report):
    """Import a calendar of one task; return its due time and zone, or the errors of the row."""

    def read(*components):
        job = import_file(alice, calendar(*components), "icalendar")
        assert job["state"] == "succeeded", job["problem"]
        tasks = tasks_of(alice)
        if tasks:
            return tasks[0]["due_at"], tasks[0]["time_zone"]
        [row] = report(alice, job)["rows"]
        return row["errors"]

    return read


SUMMER = "20300715T090000"
OUTLOOK = r"(UTC+01:00) Amsterdam\, Berlin\, Bern\, Rome"
UNKNOWN = [{"pointer": "/time_zone", "detail": "This time zone is unknown."}]
UNSUPPORTED = [
    {
        "pointer": "/time_zone",
        "detail": "The VTIMEZONE of this TZID can't be read, or has a rule that is not supported.",
    }
]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Europe/Berlin", ("07:00", "Europe/Berlin")),
        ("/x.org/UTC", ("09:00", "UTC")),
        ("/x.org/Europe/Berlin", ("07:00", "Europe/Berlin")),
        ("/mozilla.org/20070129_1/Europe/Berlin", ("07:00", "Europe/Berlin")),
        (
            "/freeassociation.sourceforge.net/America/Argentina/Buenos_Aires",
            ("12:00", "America/Argentina/Buenos_Aires"),
        ),
        (
            "/freeassociation.sourceforge.net/Tzfile/America/Indiana/Knox",
            ("14:00", "America/Indiana/Knox"),
        ),
        ("W. Europe Standard Time", ("07:00", "Europe/Berlin")),
        ("E. South America Standard Time", ("12:00", "America/Sao_Paulo")),
        ('"Tokyo Standard Time"', ("00:00", "Asia/Tokyo")),
    ],
)
def test_zone_is_found_by_iana_name_with_a_prefix_or_windows_name(due, zone, expected):
    time, name = expected
    assert due(todo(f"DUE;TZID={zone}:{SUMMER}")) == (f"2030-07-15T{time}:00.000000Z", name)


@pytest.mark.parametrize(
    "line",
    [
        f"DUE;TZID=Mars/Base:{SUMMER}",
        f'DUE;X-A="p";TZID=Mars/Base:{SUMMER}',
        f'DUE;X-A="p;q:r";TZID="Mars/Base":{SUMMER}',
        f"DUE;TZID=Mars/UTC:{SUMMER}",
        f"DUE;TZID=Europe/Berlin/Mitte:{SUMMER}",
        f"DUE;TZID=Mars/Base:{SUMMER}Z",
        f"DUE;TZID=:{SUMMER}",
    ],
)
def test_unknown_zone_is_a_reported_row(due, line):
    assert due(todo(line)) == UNKNOWN


@pytest.mark.parametrize(
    "parameters",
    [
        'X-A="p";TZID=Asia/Tokyo',
        'X-A="p;q:r,s";TZID="Asia/Tokyo"',
        'TZID=Asia/Tokyo;X-A="TZID=UTC"',
    ],
)
def test_quoted_parameters_do_not_hide_the_zone(due, parameters):
    expected = ("2030-07-15T00:00:00.000000Z", "Asia/Tokyo")
    assert due(todo(f"DUE;{parameters}:{SUMMER}")) == expected


def test_zone_of_a_completion_does_not_matter(due):
    lines = ("COMPLETED;TZID=/x.org/Europe/Berlin:20300115T090000", f"DUE;TZID=Asia/Tokyo:{SUMMER}")
    assert due(todo(*lines)) == ("2030-07-15T00:00:00.000000Z", "Asia/Tokyo")


class TestDefinedZones:
    """A TZID that a VTIMEZONE of the calendar defines (RFC 5545, 3.2.19)."""

    @pytest.mark.parametrize("is_first", [True, False])
    def test_zone_is_that_of_the_file(self, due, is_first):
        zone = BERLIN.format(name=OUTLOOK)
        task = todo(f'DUE;TZID="{OUTLOOK.replace(chr(92), "")}":{SUMMER}')
        components = [zone, task] if is_first else [task, zone]
        assert due(*components) == ("2030-07-15T07:00:00.000000Z", None)

    @pytest.mark.parametrize(
        ("day", "utc"), [("20300115", "08"), ("20300715", "07"), ("20990715", "07")]
    )
    def test_definition_applies_in_summer_and_winter(self, due, day, utc):
        task = todo(f"DUE;TZID=Home:{day}T090000")
        [year, month, day] = [day[:4], day[4:6], day[6:]]
        expected = f"{year}-{month}-{day}T{utc}:00:00.000000Z"
        assert due(BERLIN.format(name="Home"), task) == (expected, None)

    def test_iana_name_is_kept_if_the_definition_agrees(self, due):
        task = todo(f"DUE;TZID=Europe/Berlin:{SUMMER}")
        expected = ("2030-07-15T07:00:00.000000Z", "Europe/Berlin")
        assert due(BERLIN.format(name="Europe/Berlin"), task) == expected

    def test_definition_has_precedence_over_an_iana_name(self, due):
        task = todo(f"DUE;TZID=Asia/Tokyo:{SUMMER}")
        expected = ("2030-07-15T07:00:00.000000Z", None)
        assert due(BERLIN.format(name="Asia/Tokyo"), task) == expected

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
    def test_files_do_not_share_zones(self, alice, import_file, order):
        task = todo(f"DUE;TZID=Home:{SUMMER}")
        files = [
            (calendar(BERLIN.format(name="Home"), task), "2030-07-15T07:00:00.000000Z"),
            (calendar(FIXED.format(name="Home", rule=""), task), "2030-07-15T03:30:00.000000Z"),
            (calendar(task), None),
        ]
        for index in order:
            import_file(alice, files[index][0], "icalendar")
        dues = [files[index][1] for index in order]
        assert [task["due_at"] for task in tasks_of(alice)] == [due for due in dues if due]

    def test_calendars_of_one_file_do_not_share_zones(self, alice, import_file, report):
        task = todo(f"DUE;TZID=Home:{SUMMER}")
        content = (
            calendar(BERLIN.format(name="Home"), task)
            + calendar(task, FIXED.format(name="Home", rule=""))
            + calendar(task)
        )
        job = import_file(alice, content, "icalendar")
        dues = [task["due_at"] for task in tasks_of(alice)]
        assert dues == ["2030-07-15T07:00:00.000000Z", "2030-07-15T03:30:00.000000Z"]
        [row] = report(alice, job)["rows"]
        assert row["errors"] == UNKNOWN

    @pytest.mark.parametrize(
        "rule",
        [
            "RRULE:FREQ=SECONDLY",
            "RRULE:FREQ=YEARLY;BYMONTH=1;BYHOUR=1,2,3",
            "RRULE:FREQ=YEARLY;BYMONTH=1,2,3,4;BYDAY=MO",
            "RRULE:nonsense",
            "TZOFFSETTO:nonsense",
        ],
    )
    def test_definition_that_cannot_be_read_is_a_reported_row(self, due, rule):
        zone = FIXED.format(name="Home", rule=rule)
        assert due(zone, todo(f"DUE;TZID=Home:{SUMMER}")) == UNSUPPORTED

    @pytest.mark.parametrize("name", ["TZID", "TZIDx", "X-A:b"])
    def test_definition_without_a_valid_name_defines_nothing(self, due, name):
        zone = BERLIN.replace("TZID:{name}", name)
        assert due(zone, todo(f"DUE;TZID=Home:{SUMMER}")) == UNKNOWN

    def test_too_many_definitions_are_rejected(self, alice, import_file):
        zones = [BERLIN.format(name=f"Zone {number}") for number in range(4000)]
        job = import_file(alice, calendar(*zones), "icalendar")
        assert job["state"] == "failed"
        assert "there are too many VTIMEZONEs" in job["problem"]["errors"][0]["detail"]

    def test_many_calendars_may_define_the_same_zone(self, alice, import_file, report):
        task = todo(f"DUE;TZID=Home:{SUMMER}")
        content = calendar(BERLIN.format(name="Home"), task) * 4000
        assert report(alice, import_file(alice, content, "icalendar"))["created"] == 4000


@pytest.mark.parametrize("width", [74, 1_000_000])
def test_long_property_that_is_not_read_does_not_matter(alice, import_file, report, width):
    picture = base64.b64encode(bytes(2_000_000)).decode()
    lines = [picture[start : start + width] for start in range(0, len(picture), width)]
    attachment = "ATTACH;ENCODING=BASE64;VALUE=BINARY:" + "\n ".join(lines)
    event = f"BEGIN:VEVENT\nSUMMARY:Party\n{attachment}\nEND:VEVENT"
    job = import_file(alice, calendar(event, todo(attachment)), "icalendar")
    assert report(alice, job) == summary(
        created=1,
        skipped=1,
        not_read={"ATTACH": 1},
        rows=[{"row": 1, "line": 2, "skipped": "VEVENT"}],
    )
    assert [task["title"] for task in tasks_of(alice)] == ["a"]


def test_every_property_that_is_not_read_is_named(alice, import_file, report):
    content = calendar(
        "X-WR-CALNAME:Home",
        "PRODID:-//example//EN",
        todo("UID:1", "CATEGORIES:a,b", "X-APPLE-SORT-ORDER:3", "rrule:FREQ=DAILY"),
        todo("CATEGORIES:a", "CATEGORIES:b", "BEGIN:VALARM", "TRIGGER:-PT5M", "END:VALARM"),
        todo("STATUS:COMPLETED", "COMPLETED:20300131T090000Z", "PERCENT-COMPLETE:100"),
        todo("PERCENT-COMPLETE:50", "DUE:20300131T090000Z", "PRIORITY:1"),
        todo("DUE:soon", "URL:https://example.com"),
    )
    assert report(alice, import_file(alice, content, "icalendar")) | {"rows": []} == summary(
        created=4,
        refused=1,
        not_read={
            "X-WR-CALNAME": 1,
            "UID": 1,
            "CATEGORIES": 2,
            "X-APPLE-SORT-ORDER": 1,
            "RRULE": 1,
            "VALARM": 1,
            "COMPLETED": 1,
            "PERCENT-COMPLETE": 1,
        },
    )


def test_names_in_the_report_are_limited(alice, import_file, report):
    content = calendar(todo(*(f"X-{number}-{'A' * 200}:b" for number in range(300))))
    not_read = report(alice, import_file(alice, content, "icalendar"))["not_read"]
    assert len(not_read) == 201
    assert not_read["(others)"] == 100
    assert max(map(len, not_read)) == 100


def test_line_folded_within_its_name_is_read(alice, import_file):
    import_file(alice, calendar("BEGIN:VTODO\nSUMM\n ARY\n :Buy mi\n lk\nEND:VTODO"), "icalendar")
    assert [task["title"] for task in tasks_of(alice)] == ["Buy milk"]
