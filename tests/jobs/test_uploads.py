"""Uploads of files, raw or in a form."""

import io
import tracemalloc

import pytest
from sqlalchemy import func, select

from app.api.models import IdempotencyRecord
from app.jobs import files
from app.jobs.models import FilePiece, Job, JobFile
from tests.problems import assert_problem, parameters, pointers

JSON = b'[{"title": "a"}]'
CSV = b"title\r\na\r\n"
TODOIST = b"TYPE,CONTENT,PRIORITY\r\ntask,a,1\r\n"
ICS = b"BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nSUMMARY:a\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"


@pytest.fixture
def send(alice):
    """Send a raw body."""

    def call(content, content_type, **kwargs):
        return alice.post("/imports", data=content, content_type=content_type, **kwargs)

    return call


@pytest.fixture
def send_form(alice):
    """Send a form; a file is a tuple of content, name and type."""

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
def test_format_is_detected_by_media_type_and_todoist_by_header(send, content, content_type, name):
    response = send(content, content_type)
    assert (response.status_code, response.json["kind"]) == (202, "import")
    assert response.json["format"] == name


@pytest.mark.parametrize("name", ["json", "csv", "todoist", "icalendar"])
def test_format_in_the_query_has_precedence(send, name):
    response = send(TODOIST, "text/csv", query_string={"format": name})
    assert response.json["format"] == name
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
def test_other_media_types_are_unsupported(send, stored, content_type, headers):
    response = send(CSV, content_type, headers=headers, query_string={"format": "csv"})
    body = assert_problem(response, 415, "unsupported_media_type")
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
def test_file_can_be_sent_in_a_form(send_form, alice, drain, stored, file, fields, name):
    response = send_form(file=file, **fields)
    assert (response.status_code, response.json["format"]) == (202, name)
    assert stored(select(FilePiece.data)) == [(file[0],)]


SIZE = 1_500_000
LARGE = {
    "short lines": ("tasks.csv", b"title\n" + b"Buy milk\n" * (SIZE // 9)),
    "CR once, then LF": ("tasks.csv", b"title,description\r\n" + b"a,b\n" * (SIZE // 4)),
    "only CR": ("tasks.csv", b"title\r" + b"Buy milk\r" * (SIZE // 9)),
    "one line": ("tasks.json", b"[" + b'{"title":"a"},' * (SIZE // 14) + b'{"title":"z"}]'),
    "like a boundary": ("tasks.csv", b"title\r\n" + b"--x\r\n" * (SIZE // 5)),
    "calendar": (
        "tasks.ics",
        b"BEGIN:VCALENDAR\r\n"
        + b"BEGIN:VTODO\r\nSUMMARY:a\r\nEND:VTODO\r\n" * (SIZE // 37)
        + b"END:VCALENDAR\r\n",
    ),
}


@pytest.mark.parametrize(("file_name", "content"), LARGE.values(), ids=LARGE)
def test_large_file_of_any_content_is_accepted_in_a_form(alice, stored, file_name, content):
    header = f'Content-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'
    body = b"--xyz\r\n" + header.encode() + content + b"\r\n--xyz--\r\n"
    content_type = "multipart/form-data; boundary=xyz"
    response = alice.post("/imports", data=body, content_type=content_type)
    assert response.status_code == 202, response.text
    pieces = stored(select(FilePiece.data).order_by(FilePiece.number))
    assert b"".join(data for (data,) in pieces) == content


def test_invalid_form_is_rejected(send, send_form, stored):
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


def form_of(*parts):
    """Return a form of parts given as header and content."""
    body = b"".join(b"--xyz\r\n%b\r\n\r\n%b\r\n" % part for part in parts)
    return {"data": body + b"--xyz--\r\n", "content_type": "multipart/form-data; boundary=xyz"}


FILE_HEADER = b'Content-Disposition: form-data; name="file"; filename="a.csv"'
FORMAT_HEADER = b'Content-Disposition: form-data; name="format"'


@pytest.mark.parametrize("charset", [b"utf-8", b"foo", b"utf-16"])
def test_field_of_a_form_is_utf8_whatever_its_charset(alice, charset):
    header = FORMAT_HEADER + b"\r\nContent-Type: text/plain; charset=" + charset
    response = alice.post("/imports", **form_of((FILE_HEADER, CSV), (header, b"csv")))
    assert (response.status_code, response.json.get("format")) == (202, "csv")


def test_field_of_a_form_is_limited_and_valid_text(alice, stored):
    too_long = form_of((FILE_HEADER, CSV), (FORMAT_HEADER, b"csv" * 1000))
    assert_problem(alice.post("/imports", **too_long), 413, "payload_too_large")
    invalid = form_of((FILE_HEADER, CSV), (FORMAT_HEADER, b"\xff"))
    assert_problem(alice.post("/imports", **invalid), 400, "bad_request")
    assert stored(select(Job.id)) == []


def test_idempotency_key_ignores_the_boundary_of_the_form(alice):
    """HTTP libraries generate a new boundary for each request."""
    responses = []
    for boundary in ("one", "two"):
        form = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'
            f"\r\ntitle\r\na\r\n--{boundary}--\r\n"
        )
        responses.append(
            alice.post(
                "/imports",
                data=form.encode(),
                content_type=f"multipart/form-data; boundary={boundary}",
                headers={"Idempotency-Key": "once"},
            )
        )
    assert [response.status_code for response in responses] == [202, 202]
    assert responses[1].data == responses[0].data


class TestLength:
    """Uploads are limited to MAX_UPLOAD_LENGTH, with or without Content-Length."""

    MAX_LENGTH = 3 * 1024 * 1024

    @pytest.fixture(autouse=True)
    def _limited(self, app, monkeypatch):
        monkeypatch.setitem(app.config, "MAX_UPLOAD_LENGTH", self.MAX_LENGTH)

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

    def test_limit_is_exact(self, send, send_chunked, stored):
        for call in (lambda content: send(content, "text/csv"), send_chunked):
            assert call(b"x" * self.MAX_LENGTH).status_code == 202
            assert_problem(call(b"x" * (self.MAX_LENGTH + 1)), 413, "payload_too_large")
        lengths = select(func.sum(func.length(FilePiece.data))).group_by(FilePiece.job_id)
        assert stored(lengths) == [(self.MAX_LENGTH,), (self.MAX_LENGTH,)]
        assert (
            max(length for (length,) in stored(select(func.length(FilePiece.data)))) == 256 * 1024
        )

    def test_other_endpoints_keep_their_limit(self, alice):
        response = alice.post(
            "/exports", data=b" " * (1024 * 1024 + 1), content_type="application/json"
        )
        assert_problem(response, 413, "payload_too_large")

    def test_truncated_file_is_rejected(self, alice, stored):
        response = alice.post(
            "/imports",
            data=CSV,
            content_type="text/csv",
            environ_overrides={
                "wsgi.input_terminated": True,
                "CONTENT_LENGTH": str(len(CSV) + 1),
            },
        )
        assert_problem(response, 400, "bad_request")
        assert stored(select(Job.id)) == []

    def test_too_large_file_does_not_use_up_the_idempotency_key(self, send, stored):
        key = {"Idempotency-Key": "1"}
        assert send(b"x" * (self.MAX_LENGTH + 1), "text/csv", headers=key).status_code == 413
        assert stored(select(IdempotencyRecord.key)) == []
        assert send(CSV, "text/csv", headers=key).status_code == 202

    def test_upload_is_never_in_memory_as_a_whole(self, app, alice, monkeypatch):
        max_length = 32 * 1024 * 1024
        monkeypatch.setitem(app.config, "MAX_UPLOAD_LENGTH", max_length)
        alice.post("/imports", data=CSV, content_type="text/csv")

        class Endless(io.RawIOBase):
            left = max_length

            def readinto(self, target):
                count = min(len(target), self.left)
                target[:count] = b"x" * count
                self.left -= count
                return count

            def readable(self):
                return True

        tracemalloc.start()
        try:
            environ = {"wsgi.input": Endless(), "CONTENT_LENGTH": str(max_length)}
            response = alice.post(
                "/imports",
                content_type="text/csv",
                headers={"Idempotency-Key": "long"},
                environ_overrides=environ | {"wsgi.input_terminated": True},
            )
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert response.status_code == 202
        assert peak < 8 * 1024 * 1024


def test_authentication_comes_before_validation(client, stored):
    for content_type in ("text/csv", "text/plain"):
        response = client.post("/api/v1/imports", data=CSV, content_type=content_type)
        assert_problem(response, 401, "authentication_required")
    assert stored(select(Job.id)) == []


def test_stored_file_is_read_back_unchanged(app, alice, stored):
    content = bytes(range(256)) * 5000
    job_id = alice.post("/imports", data=content, content_type="text/csv").json["id"]
    with app.app_context():
        assert files.open_file(job_id, JobFile.upload).read() == content
        assert b"".join(files.stream(job_id, JobFile.upload)) == content
        assert files.length(job_id, JobFile.upload) == len(content)
        lines = files.open_file(job_id, JobFile.upload)
        assert b"".join(iter(lambda: lines.readline(7), b"")) == content
