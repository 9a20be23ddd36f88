"""I: whatever is sent, the answer is one of those that the contract names."""

import json
import os
import re
import socket
import time
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from sqlalchemy import select

from app.auth.models import User
from app.tasks.models import Task
from benchmarks.server import started
from tests.problems import assert_problem, parameters, pointers
from tests.security import surface
from tests.security.corpus import INVALID, STRINGS, VALID, within

POSTGRES = os.environ.get("TEST_DATABASE_URL")
JSON = "application/json"
WRITES = ("POST", "PUT", "PATCH")
WHOLE = b'{"title": "New", "status": "pending"}'
MERGE_PATCH = "application/merge-patch+json"
NOT_JSON = [
    *(None, "", "text/plain", "text/json", "application/x-www-form-urlencoded", "application"),
    *("multipart/form-data; boundary=x", "application/jsonx", "application/xml", "*/*"),
    *("application/vnd.api+json", "application/problem+json", "application/json-patch+json"),
]
HUGE = [2**31, 2**63, -(2**63) - 1, 10**30, -1]
NOT_OF_TYPE = {
    "string": [1, 1.0, True, [], {}, ["x"]],
    "boolean": ["true", "", 1, 0, 1.0, [], {}],
    "array": ["x", 1, True, {}, {"0": "x"}],
}


@pytest.fixture
def operations(admin):
    """Every operation of the document, to be called by somebody who may."""
    return list(surface.operations(admin))


@pytest.fixture
def writes(operations):
    """Those operations that take a body."""
    found = [operation for operation in operations if operation.body]
    assert len(found) >= 15
    return found


@pytest.fixture
def unchanged(stored):
    """Sees to it that nothing was written in the end: no task and no account is another."""
    everything = [select(*table.__table__.c) for table in (Task, User)]

    def look():
        return [sorted(map(str, stored(rows))) for rows in everything]

    before = []
    yield lambda: before.extend(look())
    assert before, "The test says when it begins."
    assert look() == before


@pytest.fixture
def send(alice, unchanged):
    """Sends bytes as the body of a write that is to be refused, and sees that it wrote nothing."""
    task = alice.task()
    unchanged()

    def call(body, method="POST", content_type=JSON, **kwargs):
        path = "/tasks" if method == "POST" else f"/tasks/{task['id']}"
        return alice.call(method, path, data=body, content_type=content_type, **kwargs)

    return call


def assert_refused_at(answer, field, what):
    """Assert that an answer is a 422 which blames this field of the body."""
    body = assert_problem(answer, 422, "validation_error")
    places = [fault["pointer"] for fault in body["errors"]]
    assert places, what
    for place in places:
        assert place == f"/{field}" or place.startswith(f"/{field}/"), (what, places)


def assert_each_field_refuses(writes, values_of):
    """Assert that no operation takes what ``values_of`` makes of the schema of a field."""
    for operation in writes:
        for field, schema in operation.fields.items():
            for value in values_of(schema):
                raw = json.dumps(operation.body | {field: value})
                answer = operation.send(raw)
                assert_refused_at(answer, field, (operation.name, field, value))


def strings(schema):
    """The schema of whatever takes text, if this one is for it."""
    return "string" in surface.kinds(schema)


class TestText:
    """NUL, surrogates, and what is no UTF-8."""

    @pytest.mark.parametrize("text", ["\0", "a\0b", "a\0"])
    def test_i1_nul_in_any_string_of_any_body_is_refused_by_pointer(self, writes, unchanged, text):
        unchanged()
        assert_each_field_refuses(writes, lambda schema: [text] if strings(schema) else [])
        for operation in writes:
            answer = operation.send(json.dumps(operation.body | {text: 1}))
            assert_refused_at(answer, text, operation.name)

    @pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d"])
    def test_i2_a_lone_surrogate_in_any_string_of_any_body_is_refused_by_pointer(
        self, writes, unchanged, text
    ):
        unchanged()
        assert_each_field_refuses(writes, lambda schema: [text] if strings(schema) else [])
        named = text.encode("utf-8", "backslashreplace").decode()
        for operation in writes:
            answer = operation.send(json.dumps(operation.body | {text: 1}))
            assert_refused_at(answer, named, operation.name)

    def test_i2_a_pair_of_surrogates_is_one_character(self, alice):
        answer = alice.post("/tasks", data=b'{"title": "\\ud83d\\ude00"}', content_type=JSON)
        assert answer.json["title"] == "\N{GRINNING FACE}"

    @pytest.mark.parametrize("text", ["%00", "a%00b", "%ED%A0%80", "%FF", "%C3", "%C0%80"])
    def test_i1_i2_i3_what_is_no_text_in_any_parameter_is_refused_by_name(self, operations, text):
        asked = [(operation, name) for operation in operations for name in operation.query]
        assert len(asked) >= 20
        for operation, name in asked:
            answer = operation.call(query_string=f"{name}={text}")
            assert (answer.status_code, name) == (422, name)
            assert [fault["parameter"] for fault in answer.json["errors"]] == [name]
        assert_problem(operations[0].account.get(f"/tasks/1{text}"), 404, "not_found")

    def test_i3_a_body_that_is_not_plain_utf8_is_malformed(self, send):
        encodings = ("latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig")
        for body in (
            *(b"\xff", b'{"title": "\xff"}', b'{"title": "\xc0\x80"}'),
            *(b'{"title": "\xed\xa0\x80"}', b'\xef\xbb\xbf{"title": "x"}'),
            *('{"title": "é"}'.encode(name) for name in encodings),
        ):
            for method in WRITES:
                assert_problem(send(body, method), 400, "malformed_json")

    def test_i3_another_charset_is_unsupported(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for charset in ("utf-16", "latin-1", "x-unknown", "utf-8-sig", "utf_8"):
                named = f"application/json; charset={charset}"
                answer = operation.send(json.dumps(operation.body), named)
                assert_problem(answer, 415, "unsupported_media_type")


class TestNumbers:
    """Numbers that are too large, that are none, or that stand where none may."""

    def test_i4_a_number_out_of_range_in_any_body_is_refused_by_pointer(self, writes, unchanged):
        unchanged()
        assert_each_field_refuses(writes, lambda _schema: HUGE)

    def test_i4_a_number_out_of_range_in_any_path_is_not_found(self, operations, unchanged):
        unchanged()
        with_ids = [operation for operation in operations if operation.row_id]
        assert len(with_ids) >= 8
        for operation in with_ids:
            for number in (*HUGE, 0, "9" * 5000):
                answer = operation.call(path=operation.path_with(number), json=operation.body)
                assert_problem(answer, 404, "not_found")

    def test_i4_a_number_out_of_range_in_any_parameter_is_refused_by_name(self, operations):
        asked = [
            (operation, name, schema["maximum"])
            for operation in operations
            for name, schema in operation.query.items()
            if "integer" in surface.kinds(schema)
        ]
        assert len(asked) >= 5
        for operation, name, most in asked:
            for number in (*HUGE, 0, 10**4000):
                answer = operation.call(query_string={name: number})
                if 0 < number <= most:
                    assert answer.json["data"] == []
                else:
                    assert parameters(answer) == {name}

    def test_i4_a_batch_refuses_ids_and_versions_that_no_row_has(self, alice, unchanged):
        task = alice.task()
        unchanged()
        for number in (*HUGE, 0, 1.5, "1", True, None):
            for changed in ({"id": number}, {"version": number}):
                operation = {"op": "update", "id": task["id"], "body": {"title": "New"}} | changed
                answer = alice.post("/tasks/batch", {"operations": [operation]})
                if answer.status_code == 200:
                    [result] = answer.json["results"]
                    status = 412 if "version" in changed else 404
                    assert (result["status"], number) == (status, 2**31)
                elif changed != {"version": None}:
                    assert_refused_at(answer, "operations", changed)

    def test_i4_a_literal_of_thousands_of_digits_is_no_500(self, send):
        for digits in (4301, 5000, 100_000):
            for template in ("%s", "-%s", "%s.5", "1e%s"):
                answer = send(within((template % ("9" * digits)).encode()))
                assert_problem(answer, 400, "malformed_json")
            # A number, and so no title.
            assert pointers(send(within(f"0.{'9' * digits}e1".encode()))) == {"/title"}

    def test_i4_a_whole_number_of_5000_digits_is_malformed(self, send):
        for method in WRITES:
            assert_problem(send(within(b"9" * 5000), method), 400, "malformed_json")

    def test_i5_what_is_no_finite_number_is_malformed_in_any_body(self, writes, unchanged):
        unchanged()
        for operation in writes:
            field = next(iter(operation.fields))
            for number in ("NaN", "-NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[1e999]"):
                answer = operation.send(f'{{"{field}": {number}}}')
                assert_problem(answer, 400, "malformed_json")

    def test_i5_a_number_that_is_finite_is_judged_by_its_field(self, send):
        assert pointers(send(within(b"1e308"))) == {"/title"}


class TestShape:
    """Objects that say one thing twice, and nesting without end."""

    def test_i6_a_key_that_stands_twice_is_malformed(self, send):
        told = "A key stands twice in one object."
        for body in (
            b'{"title": "x", "title": "y"}',
            b'{"title": "x", "title": "x"}',
            b'{"title": "x", "t\\u0069tle": "y"}',
            b'{"title": "x", "unknown": {"a": 1, "a": 2}}',
            b'{"title": [[{"a": 1, "b": 2, "a": 3}]]}',
            b'{"": 1, "": 2}',
        ):
            for method in WRITES:
                assert_problem(send(body, method), 400, "malformed_json", detail=told)

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 100_000,
            b"]" * 100_000,
            b'{"a":' * 5000,
            b'{"a":' * 5000 + b"1" + b"}" * 5000,
            b"[{" * 50_000,
            b"[" * 33 + b"]" * 33,
            b'{"a": "]]]\\"]", "b": ' + b"[" * 40 + b"]" * 40 + b"}",
            b"[" * 33 + b'"' + b'\\"' * 500_000,
            b"[" * 33 + b'"' + b'"' * 500_000,
            b"[" * 33 + b'"' + b"\\" * 500_000,
        ],
        ids=lambda body: body[:12].decode(),
    )
    def test_i7_nesting_without_end_is_malformed_at_once(self, send, body):
        start = time.perf_counter()
        assert_problem(send(body), 400, "malformed_json")
        assert time.perf_counter() - start < 2

    @pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
    def test_i7_a_body_may_be_nested_32_deep_and_no_more(self, send, opening, closing):
        def nested(depth):
            return within(opening * (depth - 1) + b"1" + closing * (depth - 1))

        assert pointers(send(nested(32))) == {"/title"}
        told = "The body is nested more than 32 deep."
        assert_problem(send(nested(33)), 400, "malformed_json", detail=told)

    def test_i7_brackets_in_a_string_are_no_nesting(self, alice):
        title = '[{"\\' * 30
        assert alice.task(title)["title"] == title


class TestSize:
    """Bodies of a mebibyte, and of one byte more."""

    LARGEST = 1024 * 1024

    def of_size(self, size):
        return b'{"unknown": "' + b"x" * (size - 15) + b'"}'

    def sent(self, operation, body, *, chunked):
        if not chunked:
            return operation.send(body)
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        stream = BytesIO(body)
        return operation.call(input_stream=stream, content_type=JSON, environ_overrides=environ)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_i8_a_body_of_a_mebibyte_is_read_and_a_byte_more_is_too_large(
        self, writes, unchanged, chunked
    ):
        unchanged()
        for operation in writes:
            read = self.sent(operation, self.of_size(self.LARGEST), chunked=chunked)
            assert "/unknown" in pointers(read)
            refused = self.sent(operation, self.of_size(self.LARGEST + 1), chunked=chunked)
            assert_problem(refused, 413, "payload_too_large")

    def test_i8_bodies_of_no_stated_length_are_refused_with_flat_memory(self):
        def most_memory(pid):
            [told] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            return int(told) * 1024

        def refused(size):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                connection.sendall(
                    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                    b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
                )
                for _ in range(size // 2**20):
                    connection.sendall(b"100000\r\n" + b" " * 2**20 + b"\r\n")
                connection.sendall(b"0\r\n\r\n")
                answer = b""
                while more := connection.recv(65536):
                    answer += more
            return answer.decode()

        with started(POSTGRES, WEB_CONCURRENCY="1") as server:
            [worker] = server.workers()
            for _ in range(16):
                refused(2 * 2**20)
            before = most_memory(worker)
            for _ in range(4):
                answer = refused(24 * 2**20)
                assert answer.startswith("HTTP/1.1 413 ")
                assert '"code":"payload_too_large"' in answer
            # Held even once, a body would show.
            assert most_memory(worker) - before < 12 * 2**20


class TestMediaType:
    """What is not said to be JSON."""

    def test_i9_a_body_that_is_not_said_to_be_json_is_unsupported(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for content_type in NOT_JSON:
                answer = operation.send(json.dumps(operation.body), content_type)
                assert_problem(answer, 415, "unsupported_media_type")

    def test_i9_a_compressed_body_is_unsupported(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for encoding in ("gzip", "br", "deflate", "x-gzip", "gzip, identity"):
                headers = {"Content-Encoding": encoding}
                answer = operation.call(json=operation.body, headers=headers)
                assert_problem(answer, 415, "unsupported_media_type")

    def test_i9_a_merge_patch_is_for_patch_alone(self, writes, unchanged):
        unchanged()
        for operation in writes:
            if operation.method != "PATCH":
                answer = operation.send(json.dumps(operation.body), MERGE_PATCH)
                assert_problem(answer, 415, "unsupported_media_type")


class TestTypes:
    """Values of another type, and what nobody has declared."""

    def test_i10_a_value_of_another_type_in_any_body_is_refused_by_pointer(self, writes, unchanged):
        def wrong(schema):
            [kind] = surface.kinds(schema) - {"null"}
            return [*NOT_OF_TYPE[kind], *([] if "null" in surface.kinds(schema) else [None])]

        unchanged()
        assert_each_field_refuses(writes, wrong)

    def test_i10_json_of_another_type_as_the_whole_of_any_body_is_refused(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for whole in ("null", "[]", "[{}]", '"x"', '""', "1", "1.0", "true"):
                assert pointers(operation.send(whole)) == {""}

    def test_i11_an_unknown_field_of_any_body_is_refused_by_pointer(self, writes, unchanged):
        unchanged()
        names = ["unknown", "Title", "id", "__class__", "", "a/b", "a~b", "_schema", "ключ", "$ref"]
        for operation in writes:
            for name in names:
                told = name.replace("~", "~0").replace("/", "~1")
                answer = operation.send(json.dumps(operation.body | {name: 1}))
                assert f"/{told}" in pointers(answer), operation.name

    def test_i11_an_unknown_parameter_of_any_call_is_refused_by_name(self, operations, unchanged):
        unchanged()
        for operation in operations:
            for name in ("unknown", "Limit", "page", "fields", "__class__", "", "é"):
                answer = operation.call(json=operation.body, query_string=f"{quote(name)}=1")
                assert parameters(answer) == {name}, operation.name

    def test_i11_a_parameter_that_comes_twice_is_refused_by_name(self, operations):
        for operation in operations:
            for name in operation.query:
                answer = operation.call(query_string=f"{name}=1&{name}=1")
                assert parameters(answer) == {name}, operation.name

    def test_i12_a_limit_that_is_not_plainly_a_number_from_1_to_200_is_refused(self, operations):
        limits = [
            "0",
            "201",
            "-1",
            "1_0",
            "\u0661",
            " 5",
            "5 ",
            "",
            "+5",
            "05",
            "5.0",
            "1e1",
            "0x5",
        ]
        lists = [operation for operation in operations if "limit" in operation.query]
        assert len(lists) >= 4
        for operation in lists:
            for limit in (*limits, "true", str(2**63), "9" * 5000, "5\0"):
                answer = operation.call(query_string={"limit": limit})
                assert parameters(answer) == {"limit"}, operation.name

    def test_i12_what_is_not_the_one_spelling_of_an_id_is_not_found(self, operations, unchanged):
        unchanged()
        with_ids = [operation for operation in operations if operation.row_id]
        assert len(with_ids) >= 8
        for operation in with_ids:
            row_id = operation.row_id
            arabic = row_id.translate({0x30 + digit: 0x660 + digit for digit in range(10)})
            spellings = [f"0{row_id}", f"+{row_id}", f"-{row_id}", f"{row_id}.0", f"{row_id}e0"]
            spellings += [arabic, f"{row_id} ", f" {row_id}", f"{row_id}\0", f"{row_id};x", "0x1"]
            for spelling in (*spellings, f"{row_id[0]}_{row_id}", f"{row_id}%", "a", "null", "*"):
                answer = operation.call(
                    path=operation.path_with(quote(spelling)), json=operation.body
                )
                assert_problem(answer, 404, "not_found")


SIGNS = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum()] + ["≠", "€", "😀", "☃"]


def test_i13_a_sign_finds_itself_and_nothing_else(alice):
    def found(q):
        answer = alice.get("/tasks", query_string={"q": q, "limit": 200})
        assert answer.status_code == 200, answer.text
        return {task["title"] for task in answer.json["data"]}

    titles = [f"a{sign}b" for sign in SIGNS] + [sign * 2 for sign in SIGNS] + [*SIGNS, "ab", "a b"]
    operations = [{"op": "create", "body": {"title": title}} for title in titles]
    for some in (operations[:100], operations[100:]):
        assert alice.post("/tasks/batch", {"operations": some}).status_code == 200
    for sign in SIGNS:
        assert found(sign) == {sign, sign * 2, f"a{sign}b"}
        assert found(sign * 2) == {sign * 2}
        assert found(f"a{sign}b") == {f"a{sign}b"}


EXACT = {
    "2030-01-31T09:00:00Z": "2030-01-31T09:00:00Z",
    "2030-01-31t09:00:00z": "2030-01-31T09:00:00Z",
    "2030-01-31T09:00:00+00:00": "2030-01-31T09:00:00Z",
    "2030-01-31T09:00:00-00:00": "2030-01-31T09:00:00Z",
    "2030-01-31T09:00:00+05:45": "2030-01-31T03:15:00Z",
    "2030-01-31T23:30:00-23:59": "2030-02-01T23:29:00Z",
    "2028-02-29T23:59:59.999999+00:00": "2028-02-29T23:59:59.999999Z",
    "2030-01-31T09:00:00.5Z": "2030-01-31T09:00:00.500000Z",
    "2030-01-31T09:00:00.000001Z": "2030-01-31T09:00:00.000001Z",
    "2030-01-31T09:00:00.0000001Z": "2030-01-31T09:00:00Z",
    "2030-01-31T09:00:00.123456789Z": "2030-01-31T09:00:00.123456Z",
    "2030-01-31T23:59:59.9999999+01:00": "2030-01-31T22:59:59.999999Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00-14:00": "0001-01-01T14:00:00Z",
    "0999-12-31T23:59:59Z": "0999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59+14:00": "9999-12-31T09:59:59Z",
}
INEXACT = [
    "2030-01-31T09:00:00",
    "2030-01-31 09:00:00Z",
    "2030-01-31T09:00Z",
    "2030-01-31T09Z",
    "20300131T090000Z",
    "2030-01-31T09:00:60Z",
    "2016-12-31T23:59:60Z",
    "2030-01-31T24:00:00Z",
    "2030-01-31T09:60:00Z",
    "2030-02-30T09:00:00Z",
    "2030-02-29T09:00:00Z",
    "2030-00-01T09:00:00Z",
    "2030-13-01T09:00:00Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59-00:01",
    "2030-01-31T09:00:00+24:00",
    "2030-01-31T09:00:00+05:60",
    "2030-01-31T09:00:00+0545",
    "2030-01-31T09:00:00+05",
    "2030-01-31T09:00:00 Z",
    "2030-01-31T09:00:00.Z",
    "2030-01-31T09:00:00,5Z",
    "2030-01-31T09:00:00Z\n",
    " 2030-01-31T09:00:00Z",
    "2030-01-31T09:00:00Europe/Zurich",
    "2030-W05-4T09:00:00Z",
    "\u0662030-01-31T09:00:00Z",
    "",
    "now",
]


class TestInstants:
    """Instants come back as they were meant, or not at all."""

    def test_i14_an_instant_comes_back_in_utc(self, alice):
        for said, told in EXACT.items():
            task = alice.task(due_at=said)
            assert task["due_at"] == told
            assert alice.get(f"/tasks/{task['id']}").json == task
            assert alice.get("/tasks?limit=1").json["data"] == [task]

    def test_i14_what_is_no_exact_instant_is_refused(self, alice, stored):
        for said in INEXACT:
            assert pointers(alice.post("/tasks", {"title": "x", "due_at": said})) == {"/due_at"}
            for name in ("created_after", "updated_since", "completed_since", "due_before"):
                answer = alice.get("/tasks", query_string={name: said})
                assert parameters(answer) == {name}
        assert stored(select(Task.id)) == []

    def test_i14_every_instant_of_every_answer_carries_its_offset(self, operations):
        def instants(value, name=""):
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from instants(inner, key)
            elif isinstance(value, list):
                for inner in value:
                    yield from instants(inner)
            elif name.endswith("_at") and value is not None:
                yield value

        seen = []
        for operation in operations:
            if operation.method == "GET" and operation.name != "readDocument":
                answer = operation.call()
                if answer.mimetype == JSON and answer.status_code == HTTPStatus.OK:
                    seen += instants(answer.json)
        assert len(seen) >= 10
        assert [text for text in seen if not text.endswith("Z")] == []


OTHER_PATHS = [
    *("//api/v1/tasks", "/api//v1/tasks", "/api/v1//tasks", "/api/v1/tasks//"),
    *("/api/v1/tasks//{id}", "/%2Fapi/v1/tasks", "/api/v1/%2Ftasks", "/api/v1/tasks/%2F"),
    *("/api/v1/tasks/%2F{id}", "/api/v1/tasks%252F{id}", "/api/v1/../v1/tasks"),
    *("/api/v1/auth/../tasks", "/api/v1/tasks/..", "/api/v1/tasks/.", "/api/v1/./tasks"),
    *("/api/v1/auth/%2e%2e/tasks", "/api/v1/tasks/%2e%2e%2ftasks", "/api/v1/Tasks"),
    *("/API/v1/tasks", "/api/v1/TASKS/{id}", "/api/v1/tasks/{id}/Status", "/api/v1/tasks.json"),
    *("/api/v1/tasks;x=1", "/api/v1/tasks%00", "/api/v1/tasks/{id}/nothing", "/api/v1"),
    *("/api/v2/tasks", "\\api\\v1\\tasks", "/api/v1\\tasks"),
]


class TestPaths:
    """A path has one spelling, and is never redirected."""

    def test_i15_a_trailing_slash_answers_as_the_path_without_it(self, alice):
        answer = alice.post("/tasks/", {"title": "Buy milk"})
        assert answer.status_code == 201
        path = f"/tasks/{answer.json['id']}"
        assert alice.get(f"{path}/").json == answer.json
        assert alice.get("/tasks/?limit=1").json["data"] == [answer.json]
        completed = alice.put(f"{path}/status/", {"status": "completed"})
        assert completed.json["status"] == "completed"
        assert alice.patch(f"{path}/", {"title": "New"}).json["title"] == "New"
        assert alice.delete(f"{path}/").status_code == 204

    def test_i15_another_spelling_of_a_path_is_not_found_and_never_redirected(
        self, alice, unchanged
    ):
        task = alice.task()
        unchanged()
        for path in OTHER_PATHS:
            environ = {"PATH_INFO": unquote(path.format(id=task["id"]))}
            for method in ("GET", "POST", "DELETE"):
                body = {"title": "New"} if method == "POST" else None
                answer = alice.call(method, "/", json=body, environ_overrides=environ)
                assert (answer.status_code, path) == (404, path)
                assert (answer.json["code"], "Location" in answer.headers) == ("not_found", False)

    def test_i15_no_call_is_redirected_by_its_slash_or_case(self, operations, unchanged):
        unchanged()
        for operation in operations:
            for path in (operation.path.upper(), f"/{operation.path}", f"{operation.path}//"):
                environ = {"PATH_INFO": path}
                answer = operation.call(json=operation.body, environ_overrides=environ)
                assert (answer.status_code, path) == (404, path)
                assert (answer.json["code"], "Location" in answer.headers) == ("not_found", False)


class TestCorpora:
    """Bodies of every kind of JSON and of none, and strings that trip programs up."""

    @pytest.mark.parametrize("path", ["/tasks", "/auth/login"])
    def test_i16_what_is_no_json_is_malformed_and_what_is_json_is_not(self, alice, path):
        assert len(set(INVALID)) >= 150
        assert len(set(VALID)) >= 150
        told = {}
        for body in (*VALID, *INVALID):
            answer = alice.post(path, data=body, content_type=JSON)
            told[body] = answer.json.get("code", answer.status_code)
        assert {body: told[body] for body in INVALID if told[body] != "malformed_json"} == {}
        taken = {201, "validation_error"} if path == "/tasks" else {"validation_error"}
        assert {body: told[body] for body in VALID if told[body] not in taken} == {}

    def test_i16_naughty_strings_read_back_exactly(self, alice):
        assert len(set(STRINGS)) >= 300
        made = {}
        for start in range(0, len(STRINGS), 20):
            some = STRINGS[start : start + 20]
            operations = [
                {"op": "create", "body": {"title": f"{start + place}", "description": text}}
                for place, text in enumerate(some)
            ]
            answer = alice.post("/tasks/batch", {"operations": operations})
            assert answer.status_code == 200, answer.text[:500]
            for text, result in zip(some, answer.json["results"], strict=True):
                assert result["status"] == 201, text[:100]
                made[result["body"]["id"]] = text
        found, cursor = {}, {}
        while cursor is not None:
            page = alice.get("/tasks", query_string={"limit": 200, **cursor}).json
            found |= {task["id"]: task["description"] for task in page["data"]}
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        assert found == made

    def test_i16_naughty_strings_are_titles_that_are_found_or_refused(self, alice):
        for text in STRINGS:
            title = alice.post("/tasks", {"title": text})
            if 0 < len(text.strip()) <= 150:
                assert title.json["title"] == text.strip()
                found = alice.get("/tasks", query_string={"q": text, "limit": 200}).json["data"]
                assert title.json["id"] in {task["id"] for task in found}, text
            else:
                assert pointers(title) == {"/title"}
                q = alice.get("/tasks", query_string={"q": text})
                assert q.status_code in {200, 422}

    def test_i16_naughty_strings_are_nowhere_an_error_of_ours(self, alice, client):
        for text in STRINGS[::3]:
            account = {"username": text, "email": text, "password": "short"}
            assert "/email" in pointers(client.post("/api/v1/auth/register", json=account))
            assert pointers(alice.post("/tasks", {"title": "x", text: 1}))
            path = f"/api/v1/tasks/{quote(text[:500], safe='')}"
            assert client.get(path).status_code in {401, 404}


def test_i17_no_list_is_sorted_or_cut_by_what_is_not_declared(operations):
    lists = [operation for operation in operations if "limit" in operation.query]
    for operation in lists:
        for sort in ("password", "password_hash", "__class__", "title_key", "--title", "id;", "1"):
            assert parameters(operation.call(query_string={"sort": sort})) == {"sort"}
        for name in ("fields", "include", "expand", "order_by", "filter", "where"):
            assert parameters(operation.call(query_string={name: "__class__"})) == {name}
