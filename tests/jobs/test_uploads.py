"""Files over HTTP: raw or in a form, in every format, of any length that is taken."""

import io
import tracemalloc

import pytest
from sqlalchemy import func, select

from app.http.models import KeptAnswer
from app.jobs import files
from app.jobs.models import File, FilePiece, Job
from tests.problems import assert_problem, parameters, pointers

JSON = b'[{"title": "a"}]'
CSV = b"title\r\na\r\n"
TODOIST = b"TYPE,CONTENT,PRIORITY\r\ntask,a,1\r\n"
ICS = b"BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nSUMMARY:a\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
SOME = {"json": JSON, "csv": CSV, "todoist": TODOIST, "icalendar": ICS}


@pytest.fixture
def send(alice):
    """Sends bytes as they are."""

    def call(content, content_type, **kwargs):
        return alice.post("/imports", data=content, content_type=content_type, **kwargs)

    return call


@pytest.fixture
def send_form(alice):
    """Sends a form; a file is a tuple of its content, its name and its type."""

    def call(**fields):
        form = {
            name: (io.BytesIO(value[0]), *value[1:]) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }
        return alice.post("/imports", data=form, content_type="multipart/form-data")

    return call


@pytest.mark.parametrize(
    ("content", "content_type", "name"),
    [
        (JSON, "application/json", "json"),
        (JSON, "application/json; charset=utf-8", "json"),
        (CSV, "text/csv", "csv"),
        (b"\xef\xbb\xbf" + CSV, "text/csv; header=present", "csv"),
        (TODOIST, "text/csv", "todoist"),
        (b"\xef\xbb\xbf" + TODOIST, "TEXT/CSV", "todoist"),
        (b'"TYPE","CONTENT"\r\n', "text/csv", "todoist"),
        (ICS, "text/calendar", "icalendar"),
        (ICS, "text/calendar; component=vtodo", "icalendar"),
        (b"", "text/csv", "csv"),
    ],
)
def test_the_media_type_says_the_format_and_todoists_is_known_by_its_header(
    send, content, content_type, name
):
    answer = send(content, content_type)
    assert (answer.status_code, answer.json["kind"]) == (202, "import")
    assert answer.json["format"] == name


@pytest.mark.parametrize("name", ["json", "csv", "todoist", "icalendar"])
def test_the_query_says_it_before_the_media_type(send, name):
    answer = send(TODOIST, "text/csv", query_string={"format": name})
    assert answer.json["format"] == name
    assert parameters(send(CSV, "text/csv", query_string={"format": "xml"})) == {"format"}
    assert parameters(send(CSV, "text/csv", query_string={"kind": "csv"})) == {"kind"}


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("text/plain", {}),
        ("application/octet-stream", {}),
        ("application/x-www-form-urlencoded", {}),
        ("application/jsonl", {}),
        (None, {}),
        ("text/csv; charset=latin-1", {}),
        ("text/csv", {"Content-Encoding": "gzip"}),
    ],
)
def test_anything_else_is_unsupported(send, stored, content_type, headers):
    answer = send(CSV, content_type, headers=headers, query_string={"format": "csv"})
    body = assert_problem(answer, 415, "unsupported_media_type")
    assert "text/calendar" in body["detail"]
    assert stored(select(Job.id)) == []


@pytest.mark.parametrize(
    ("file", "fields", "name"),
    [
        ((CSV, "tasks.csv", "text/csv"), {}, "csv"),
        ((TODOIST, "Home.CSV", "application/octet-stream"), {}, "todoist"),
        ((JSON, "tasks.json", "application/octet-stream"), {}, "json"),
        ((ICS, "tasks.ics", "application/octet-stream"), {}, "icalendar"),
        ((ICS, "tasks", "text/calendar"), {}, "icalendar"),
        ((CSV, "tasks.txt", "text/plain"), {"format": "csv"}, "csv"),
        ((TODOIST, "tasks.csv", "text/csv"), {"format": "csv"}, "csv"),
    ],
)
def test_a_form_has_the_file_as_a_part(send_form, alice, drain, stored, file, fields, name):
    answer = send_form(file=file, **fields)
    assert (answer.status_code, answer.json["format"]) == (202, name)
    assert stored(select(FilePiece.data)) == [(file[0],)]


def test_a_form_that_is_none_or_has_other_parts_is_refused(send, send_form, stored):
    file = (CSV, "tasks.csv", "text/csv")
    assert pointers(send_form()) == {"/file"}
    assert pointers(send_form(file="title")) == {"/file"}
    assert pointers(send_form(file=file, format="xml")) == {"/format"}
    assert pointers(send_form(file=file, other="x")) == {"/other"}
    assert pointers(send_form(file=file, more=file)) == {"/more"}
    assert pointers(send_form(file=file, format=file)) == {"/file"}
    assert_problem(send_form(file=(CSV, "x.txt", "text/plain")), 415, "unsupported_media_type")
    latin = (CSV, "x.csv", "text/csv; charset=latin-1")
    assert_problem(send_form(file=latin), 415, "unsupported_media_type")
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        assert_problem(send(b"nonsense", content_type), 400, "bad_request")
    assert stored(select(Job.id)) == []


def test_a_form_that_is_sent_again_is_the_same_request_however_it_was_cut(alice):
    """A client's library makes a new boundary each time."""
    answers = []
    for boundary in ("one", "two"):
        form = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'
            f"\r\ntitle\r\na\r\n--{boundary}--\r\n"
        )
        answers.append(
            alice.post(
                "/imports",
                data=form.encode(),
                content_type=f"multipart/form-data; boundary={boundary}",
                headers={"Idempotency-Key": "once"},
            )
        )
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].data == answers[0].data


class TestLength:
    """Up to MAX_UPLOAD_LENGTH, whoever says how much it is."""

    MOST = 3 * 1024 * 1024

    @pytest.fixture(autouse=True)
    def _limited(self, app, monkeypatch):
        monkeypatch.setitem(app.config, "MAX_UPLOAD_LENGTH", self.MOST)

    @pytest.fixture
    def send_chunked(self, alice):
        def call(content):
            environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
            return alice.post(
                "/imports",
                input_stream=io.BytesIO(content),
                content_type="text/csv",
                environ_overrides=environ,
            )

        return call

    def test_a_file_of_the_greatest_length_is_taken_and_a_byte_more_is_not(
        self, send, send_chunked, stored
    ):
        for call in (lambda content: send(content, "text/csv"), send_chunked):
            assert call(b"x" * self.MOST).status_code == 202
            assert_problem(call(b"x" * (self.MOST + 1)), 413, "payload_too_large")
        lengths = select(func.sum(func.length(FilePiece.data))).group_by(FilePiece.job_id)
        assert stored(lengths) == [(self.MOST,), (self.MOST,)]
        assert (
            max(length for (length,) in stored(select(func.length(FilePiece.data)))) == 256 * 1024
        )

    def test_other_bodies_are_no_longer_than_before(self, alice):
        answer = alice.post(
            "/exports", data=b" " * (1024 * 1024 + 1), content_type="application/json"
        )
        assert_problem(answer, 413, "payload_too_large")

    def test_a_file_that_is_cut_short_is_not_imported(self, alice, stored):
        answer = alice.post(
            "/imports",
            data=CSV,
            content_type="text/csv",
            environ_overrides={
                "wsgi.input_terminated": True,
                "CONTENT_LENGTH": str(len(CSV) + 1),
            },
        )
        assert_problem(answer, 400, "bad_request")
        assert stored(select(Job.id)) == []

    def test_a_key_is_not_used_up_by_what_is_too_large(self, send, stored):
        key = {"Idempotency-Key": "1"}
        assert send(b"x" * (self.MOST + 1), "text/csv", headers=key).status_code == 413
        assert stored(select(KeptAnswer.key)) == []
        assert send(CSV, "text/csv", headers=key).status_code == 202

    def test_a_file_is_never_whole_in_memory(self, app, alice, monkeypatch):
        most = 32 * 1024 * 1024
        monkeypatch.setitem(app.config, "MAX_UPLOAD_LENGTH", most)
        alice.post("/imports", data=CSV, content_type="text/csv")

        class Endless(io.RawIOBase):
            left = most

            def readinto(self, target):
                count = min(len(target), self.left)
                target[:count] = b"x" * count
                self.left -= count
                return count

            def readable(self):
                return True

        tracemalloc.start()
        try:
            environ = {"wsgi.input": Endless(), "CONTENT_LENGTH": str(most)}
            answer = alice.post(
                "/imports",
                content_type="text/csv",
                headers={"Idempotency-Key": "long"},
                environ_overrides=environ | {"wsgi.input_terminated": True},
            )
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert answer.status_code == 202
        assert peak < 8 * 1024 * 1024


def test_who_sends_is_asked_before_what_is_sent(client, stored):
    for content_type in ("text/csv", "text/plain"):
        answer = client.post("/api/v1/imports", data=CSV, content_type=content_type)
        assert_problem(answer, 401, "authentication_required")
    assert stored(select(Job.id)) == []


def test_a_long_file_is_read_again_byte_by_byte_as_it_was(app, alice, stored):
    content = bytes(range(256)) * 5000
    job_id = alice.post("/imports", data=content, content_type="text/csv").json["id"]
    with app.app_context():
        assert files.open_file(job_id, File.upload).read() == content
        assert b"".join(files.send(job_id, File.upload)) == content
        assert files.length(job_id, File.upload) == len(content)
        lines = files.open_file(job_id, File.upload)
        assert b"".join(iter(lambda: lines.readline(7), b"")) == content
