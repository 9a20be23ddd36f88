"""Checks I1 to I17: invalid and unusual input gets a response that the contract names."""

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
    """Every operation of the document, with an administrator as the caller."""
    return list(surface.operations(admin))


@pytest.fixture
def writes(operations):
    """The operations that have a body."""
    writes = [operation for operation in operations if operation.body]
    assert len(writes) >= 15
    return writes


@pytest.fixture
def unchanged(stored):
    """Assert at the end of the test that tasks and users did not change since it was called."""
    queries = [select(*table.__table__.c) for table in (Task, User)]

    def snapshot():
        return [sorted(map(str, stored(rows))) for rows in queries]

    before = []
    yield lambda: before.extend(snapshot())
    assert before, "The test must call the fixture."
    assert snapshot() == before


@pytest.fixture
def send(alice, unchanged):
    """Send raw bytes as the body of a write, and assert that it has no effect."""
    task = alice.task()
    unchanged()

    def call(body, method="POST", content_type=JSON, **kwargs):
        path = "/tasks" if method == "POST" else f"/tasks/{task['id']}"
        return alice.call(method, path, data=body, content_type=content_type, **kwargs)

    return call


def assert_rejected_at(response, field, case):
    """Assert that a response is a 422 whose errors all point at the field."""
    body = assert_problem(response, 422, "validation_error")
    found = [error["pointer"] for error in body["errors"]]
    assert found, case
    for pointer in found:
        assert pointer == f"/{field}" or pointer.startswith(f"/{field}/"), (case, found)


def assert_each_field_rejects(writes, values_of):
    """Assert that each operation rejects the values that ``values_of`` returns for a field."""
    for operation in writes:
        for field, schema in operation.fields.items():
            for value in values_of(schema):
                raw = json.dumps(operation.body | {field: value})
                response = operation.send(raw)
                assert_rejected_at(response, field, (operation.name, field, value))


def accepts_text(schema):
    """Return whether a field may be a string."""
    return "string" in surface.types(schema)


class TestText:
    """NUL, surrogates and invalid UTF-8."""

    @pytest.mark.parametrize("text", ["\0", "a\0b", "a\0"])
    def test_i1_nul_in_any_string_is_rejected_by_pointer(self, writes, unchanged, text):
        unchanged()
        assert_each_field_rejects(writes, lambda schema: [text] if accepts_text(schema) else [])
        for operation in writes:
            response = operation.send(json.dumps(operation.body | {text: 1}))
            assert_rejected_at(response, text, operation.name)

    @pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d"])
    def test_i2_lone_surrogate_in_any_string_is_rejected_by_pointer(self, writes, unchanged, text):
        unchanged()
        assert_each_field_rejects(writes, lambda schema: [text] if accepts_text(schema) else [])
        escaped = text.encode("utf-8", "backslashreplace").decode()
        for operation in writes:
            response = operation.send(json.dumps(operation.body | {text: 1}))
            assert_rejected_at(response, escaped, operation.name)

    def test_i2_surrogate_pair_is_one_character(self, alice):
        response = alice.post("/tasks", data=b'{"title": "\\ud83d\\ude00"}', content_type=JSON)
        assert response.json["title"] == "\N{GRINNING FACE}"

    @pytest.mark.parametrize("text", ["%00", "a%00b", "%ED%A0%80", "%FF", "%C3", "%C0%80"])
    def test_i1_i2_i3_invalid_text_in_any_parameter_is_rejected_by_name(self, operations, text):
        parameters_of = [(operation, name) for operation in operations for name in operation.query]
        assert len(parameters_of) >= 20
        for operation, name in parameters_of:
            response = operation.call(query_string=f"{name}={text}")
            assert (response.status_code, name) == (422, name)
            assert [error["parameter"] for error in response.json["errors"]] == [name]
        assert_problem(operations[0].account.get(f"/tasks/1{text}"), 404, "not_found")

    def test_i3_body_that_is_not_utf8_is_malformed(self, send):
        encodings = ("latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig")
        for body in (
            *(b"\xff", b'{"title": "\xff"}', b'{"title": "\xc0\x80"}'),
            *(b'{"title": "\xed\xa0\x80"}', b'\xef\xbb\xbf{"title": "x"}'),
            *('{"title": "é"}'.encode(name) for name in encodings),
        ):
            for method in WRITES:
                assert_problem(send(body, method), 400, "malformed_json")

    def test_i3_other_charsets_are_unsupported(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for charset in ("utf-16", "latin-1", "x-unknown", "utf-8-sig", "utf_8"):
                content_type = f"application/json; charset={charset}"
                response = operation.send(json.dumps(operation.body), content_type)
                assert_problem(response, 415, "unsupported_media_type")


class TestNumbers:
    """Numbers out of range, invalid numbers, and numbers of the wrong type."""

    def test_i4_number_out_of_range_in_a_body_is_rejected_by_pointer(self, writes, unchanged):
        unchanged()
        assert_each_field_rejects(writes, lambda _schema: HUGE)

    def test_i4_number_out_of_range_in_a_path_is_not_found(self, operations, unchanged):
        unchanged()
        with_ids = [operation for operation in operations if operation.row_id]
        assert len(with_ids) >= 8
        for operation in with_ids:
            for number in (*HUGE, 0, "9" * 5000):
                response = operation.call(path=operation.path_with(number), json=operation.body)
                assert_problem(response, 404, "not_found")

    def test_i4_number_out_of_range_in_a_parameter_is_rejected_by_name(self, operations):
        integers = [
            (operation, name, schema["maximum"])
            for operation in operations
            for name, schema in operation.query.items()
            if "integer" in surface.types(schema)
        ]
        assert len(integers) >= 5
        for operation, name, maximum in integers:
            for number in (*HUGE, 0, 10**4000):
                response = operation.call(query_string={name: number})
                if 0 < number <= maximum:
                    assert response.json["data"] == []
                else:
                    assert parameters(response) == {name}

    def test_i4_batch_rejects_impossible_ids_and_versions(self, alice, unchanged):
        task = alice.task()
        unchanged()
        for number in (*HUGE, 0, 1.5, "1", True, None):
            for change in ({"id": number}, {"version": number}):
                operation = {"op": "update", "id": task["id"], "body": {"title": "New"}} | change
                response = alice.post("/tasks/batch", {"operations": [operation]})
                if response.status_code == 200:
                    [result] = response.json["results"]
                    status = 412 if "version" in change else 404
                    assert (result["status"], number) == (status, 2**31)
                elif change != {"version": None}:
                    assert_rejected_at(response, "operations", change)

    def test_i4_literal_with_thousands_of_digits_is_malformed(self, send):
        for digits in (4301, 5000, 100_000):
            for template in ("%s", "-%s", "%s.5", "1e%s"):
                response = send(within((template % ("9" * digits)).encode()))
                assert_problem(response, 400, "malformed_json")
            # A valid number, but not a string.
            assert pointers(send(within(f"0.{'9' * digits}e1".encode()))) == {"/title"}

    def test_i4_integer_with_5000_digits_is_malformed(self, send):
        for method in WRITES:
            assert_problem(send(within(b"9" * 5000), method), 400, "malformed_json")

    def test_i5_non_finite_numbers_are_malformed(self, writes, unchanged):
        unchanged()
        for operation in writes:
            field = next(iter(operation.fields))
            for number in ("NaN", "-NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[1e999]"):
                response = operation.send(f'{{"{field}": {number}}}')
                assert_problem(response, 400, "malformed_json")

    def test_i5_finite_number_is_validated_by_its_field(self, send):
        assert pointers(send(within(b"1e308"))) == {"/title"}


class TestShape:
    """Duplicate keys and deep nesting."""

    def test_i6_duplicate_keys_are_malformed(self, send):
        detail = "An object has the same key twice."
        for body in (
            b'{"title": "x", "title": "y"}',
            b'{"title": "x", "title": "x"}',
            b'{"title": "x", "t\\u0069tle": "y"}',
            b'{"title": "x", "unknown": {"a": 1, "a": 2}}',
            b'{"title": [[{"a": 1, "b": 2, "a": 3}]]}',
            b'{"": 1, "": 2}',
        ):
            for method in WRITES:
                assert_problem(send(body, method), 400, "malformed_json", detail=detail)

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
    def test_i7_deep_nesting_is_malformed_fast(self, send, body):
        start = time.perf_counter()
        assert_problem(send(body), 400, "malformed_json")
        assert time.perf_counter() - start < 2

    @pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
    def test_i7_body_may_be_nested_32_levels_deep(self, send, opening, closing):
        def nested(depth):
            return within(opening * (depth - 1) + b"1" + closing * (depth - 1))

        assert pointers(send(nested(32))) == {"/title"}
        detail = "The body is nested more than 32 levels deep."
        assert_problem(send(nested(33)), 400, "malformed_json", detail=detail)

    def test_i7_brackets_in_strings_are_not_nesting(self, alice):
        title = '[{"\\' * 30
        assert alice.task(title)["title"] == title


class TestSize:
    """Bodies of one mebibyte, and one byte more."""

    MAX_SIZE = 1024 * 1024

    def of_size(self, size):
        return b'{"unknown": "' + b"x" * (size - 15) + b'"}'

    def send(self, operation, body, *, chunked):
        if not chunked:
            return operation.send(body)
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        stream = BytesIO(body)
        return operation.call(input_stream=stream, content_type=JSON, environ_overrides=environ)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_i8_body_over_one_mebibyte_is_too_large(self, writes, unchanged, chunked):
        unchanged()
        for operation in writes:
            read = self.send(operation, self.of_size(self.MAX_SIZE), chunked=chunked)
            assert "/unknown" in pointers(read)
            rejected = self.send(operation, self.of_size(self.MAX_SIZE + 1), chunked=chunked)
            assert_problem(rejected, 413, "payload_too_large")

    def test_i8_chunked_bodies_are_rejected_with_flat_memory(self):
        def peak_memory(pid):
            [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            return int(kilobytes) * 1024

        def send_chunked(size):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                connection.sendall(
                    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                    b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
                )
                for _ in range(size // 2**20):
                    connection.sendall(b"100000\r\n" + b" " * 2**20 + b"\r\n")
                connection.sendall(b"0\r\n\r\n")
                response = b""
                while more := connection.recv(65536):
                    response += more
            return response.decode()

        with started(POSTGRES, WEB_CONCURRENCY="1") as server:
            [worker] = server.workers()
            for _ in range(16):
                send_chunked(2 * 2**20)
            before = peak_memory(worker)
            for _ in range(4):
                response = send_chunked(24 * 2**20)
                assert response.startswith("HTTP/1.1 413 ")
                assert '"code":"payload_too_large"' in response
            # One body in memory would exceed this.
            assert peak_memory(worker) - before < 12 * 2**20


class TestMediaType:
    """Media types other than JSON."""

    def test_i9_other_content_types_are_unsupported(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for content_type in NOT_JSON:
                response = operation.send(json.dumps(operation.body), content_type)
                assert_problem(response, 415, "unsupported_media_type")

    def test_i9_compressed_bodies_are_unsupported(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for encoding in ("gzip", "br", "deflate", "x-gzip", "gzip, identity"):
                headers = {"Content-Encoding": encoding}
                response = operation.call(json=operation.body, headers=headers)
                assert_problem(response, 415, "unsupported_media_type")

    def test_i9_merge_patch_is_for_patch_only(self, writes, unchanged):
        unchanged()
        for operation in writes:
            if operation.method != "PATCH":
                response = operation.send(json.dumps(operation.body), MERGE_PATCH)
                assert_problem(response, 415, "unsupported_media_type")


class TestTypes:
    """Values of the wrong type, and undeclared fields and parameters."""

    def test_i10_value_of_the_wrong_type_is_rejected_by_pointer(self, writes, unchanged):
        def wrong_values(schema):
            [type_] = surface.types(schema) - {"null"}
            return [*NOT_OF_TYPE[type_], *([] if "null" in surface.types(schema) else [None])]

        unchanged()
        assert_each_field_rejects(writes, wrong_values)

    def test_i10_body_that_is_not_an_object_is_rejected(self, writes, unchanged):
        unchanged()
        for operation in writes:
            for body in ("null", "[]", "[{}]", '"x"', '""', "1", "1.0", "true"):
                assert pointers(operation.send(body)) == {""}

    def test_i11_unknown_field_is_rejected_by_pointer(self, writes, unchanged):
        unchanged()
        names = ["unknown", "Title", "id", "__class__", "", "a/b", "a~b", "_schema", "ключ", "$ref"]
        for operation in writes:
            for name in names:
                escaped = name.replace("~", "~0").replace("/", "~1")
                response = operation.send(json.dumps(operation.body | {name: 1}))
                assert f"/{escaped}" in pointers(response), operation.name

    def test_i11_unknown_parameter_is_rejected_by_name(self, operations, unchanged):
        unchanged()
        for operation in operations:
            for name in ("unknown", "Limit", "page", "fields", "__class__", "", "é"):
                response = operation.call(json=operation.body, query_string=f"{quote(name)}=1")
                assert parameters(response) == {name}, operation.name

    def test_i11_repeated_parameter_is_rejected_by_name(self, operations):
        for operation in operations:
            for name in operation.query:
                response = operation.call(query_string=f"{name}=1&{name}=1")
                assert parameters(response) == {name}, operation.name

    def test_i12_limit_must_be_a_plain_number_from_1_to_200(self, operations):
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
                response = operation.call(query_string={"limit": limit})
                assert parameters(response) == {"limit"}, operation.name

    def test_i12_other_spellings_of_an_id_are_not_found(self, operations, unchanged):
        unchanged()
        with_ids = [operation for operation in operations if operation.row_id]
        assert len(with_ids) >= 8
        for operation in with_ids:
            row_id = operation.row_id
            arabic = row_id.translate({0x30 + digit: 0x660 + digit for digit in range(10)})
            spellings = [f"0{row_id}", f"+{row_id}", f"-{row_id}", f"{row_id}.0", f"{row_id}e0"]
            spellings += [arabic, f"{row_id} ", f" {row_id}", f"{row_id}\0", f"{row_id};x", "0x1"]
            for spelling in (*spellings, f"{row_id[0]}_{row_id}", f"{row_id}%", "a", "null", "*"):
                response = operation.call(
                    path=operation.path_with(quote(spelling)), json=operation.body
                )
                assert_problem(response, 404, "not_found")


SPECIAL_CHARACTERS = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum()] + [
    "≠",
    "€",
    "😀",
    "☃",
]


def test_i13_special_characters_match_only_themselves(alice):
    def search(q):
        response = alice.get("/tasks", query_string={"q": q, "limit": 200})
        assert response.status_code == 200, response.text
        return {task["title"] for task in response.json["data"]}

    titles = (
        [f"a{sign}b" for sign in SPECIAL_CHARACTERS]
        + [sign * 2 for sign in SPECIAL_CHARACTERS]
        + [*SPECIAL_CHARACTERS, "ab", "a b"]
    )
    operations = [{"op": "create", "body": {"title": title}} for title in titles]
    for batch in (operations[:100], operations[100:]):
        assert alice.post("/tasks/batch", {"operations": batch}).status_code == 200
    for sign in SPECIAL_CHARACTERS:
        assert search(sign) == {sign, sign * 2, f"a{sign}b"}
        assert search(sign * 2) == {sign * 2}
        assert search(f"a{sign}b") == {f"a{sign}b"}


VALID_INSTANTS = {
    "2030-01-31T09:00:00Z": "2030-01-31T09:00:00.000000Z",
    "2030-01-31t09:00:00z": "2030-01-31T09:00:00.000000Z",
    "2030-01-31T09:00:00+00:00": "2030-01-31T09:00:00.000000Z",
    "2030-01-31T09:00:00-00:00": "2030-01-31T09:00:00.000000Z",
    "2030-01-31T09:00:00+05:45": "2030-01-31T03:15:00.000000Z",
    "2030-01-31T23:30:00-23:59": "2030-02-01T23:29:00.000000Z",
    "2028-02-29T23:59:59.999999+00:00": "2028-02-29T23:59:59.999999Z",
    "2030-01-31T09:00:00.5Z": "2030-01-31T09:00:00.500000Z",
    "2030-01-31T09:00:00.000001Z": "2030-01-31T09:00:00.000001Z",
    "2030-01-31T09:00:00.0000001Z": "2030-01-31T09:00:00.000000Z",
    "2030-01-31T09:00:00.123456789Z": "2030-01-31T09:00:00.123456Z",
    "2030-01-31T23:59:59.9999999+01:00": "2030-01-31T22:59:59.999999Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00.000000Z",
    "0001-01-01T00:00:00-14:00": "0001-01-01T14:00:00.000000Z",
    "0999-12-31T23:59:59Z": "0999-12-31T23:59:59.000000Z",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59+14:00": "9999-12-31T09:59:59.000000Z",
}
INVALID_INSTANTS = [
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
    """Instants are stored exactly or rejected."""

    def test_i14_instants_are_returned_in_utc(self, alice):
        for text, expected in VALID_INSTANTS.items():
            task = alice.task(due_at=text)
            assert task["due_at"] == expected
            assert alice.get(f"/tasks/{task['id']}").json == task
            assert alice.get("/tasks?limit=1").json["data"] == [task]

    def test_i14_invalid_instants_are_rejected(self, alice, stored):
        for text in INVALID_INSTANTS:
            assert pointers(alice.post("/tasks", {"title": "x", "due_at": text})) == {"/due_at"}
            for name in ("created_after", "updated_since", "completed_since", "due_before"):
                response = alice.get("/tasks", query_string={name: text})
                assert parameters(response) == {name}
        assert stored(select(Task.id)) == []

    def test_i14_every_instant_in_a_response_has_an_offset(self, operations):
        def instants(value, name=""):
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from instants(inner, key)
            elif isinstance(value, list):
                for inner in value:
                    yield from instants(inner)
            elif name.endswith("_at") and value is not None:
                yield value

        found = []
        for operation in operations:
            if operation.method == "GET" and operation.name != "readDocument":
                response = operation.call()
                if response.mimetype == JSON and response.status_code == HTTPStatus.OK:
                    found += instants(response.json)
        assert len(found) >= 10
        assert [text for text in found if not text.endswith("Z")] == []


OTHER_PATHS = [
    *("//api/v1/tasks", "/api//v1/tasks", "/api/v1//tasks", "/api/v1/tasks//"),
    *("/api/v1/tasks//{id}", "/%2Fapi/v1/tasks", "/api/v1/%2Ftasks", "/api/v1/tasks/%2F"),
    *("/api/v1/tasks/%2F{id}", "/api/v1/tasks%252F{id}", "/api/v1/../v1/tasks"),
    *("/api/v1/auth/../tasks", "/api/v1/tasks/..", "/api/v1/tasks/.", "/api/v1/./tasks"),
    *("/api/v1/auth/%2e%2e/tasks", "/api/v1/tasks/%2e%2e%2ftasks", "/api/v1/Tasks"),
    *("/API/v1/tasks", "/api/v1/TASKS/{id}", "/api/v1/tasks/{id}/Status", "/api/v1/tasks.json"),
    *("/api/v1/tasks;x=1", "/api/v1/tasks%00", "/api/v1/tasks/{id}/nothing", "/api/v"),
    *("/api/v2/tasks", "\\api\\v1\\tasks", "/api/v1\\tasks"),
]


class TestPaths:
    """Each path has one spelling, and is never redirected."""

    def test_i15_trailing_slash_is_ignored(self, alice):
        response = alice.post("/tasks/", {"title": "Buy milk"})
        assert response.status_code == 201
        path = f"/tasks/{response.json['id']}"
        assert alice.get(f"{path}/").json == response.json
        assert alice.get("/tasks/?limit=1").json["data"] == [response.json]
        completed = alice.put(f"{path}/status/", {"status": "completed"})
        assert completed.json["status"] == "completed"
        assert alice.patch(f"{path}/", {"title": "New"}).json["title"] == "New"
        assert alice.delete(f"{path}/").status_code == 204

    def test_i15_other_spellings_of_a_path_are_not_found_or_redirected(self, alice, unchanged):
        task = alice.task()
        unchanged()
        for path in OTHER_PATHS:
            environ = {"PATH_INFO": unquote(path.format(id=task["id"]))}
            for method in ("GET", "POST", "DELETE"):
                body = {"title": "New"} if method == "POST" else None
                response = alice.call(method, "/", json=body, environ_overrides=environ)
                assert (response.status_code, path) == (404, path)
                assert (response.json["code"], "Location" in response.headers) == (
                    "not_found",
                    False,
                )

    def test_i15_no_request_is_redirected_by_slash_or_case(self, operations, unchanged):
        unchanged()
        for operation in operations:
            for path in (operation.path.upper(), f"/{operation.path}", f"{operation.path}//"):
                environ = {"PATH_INFO": path}
                response = operation.call(json=operation.body, environ_overrides=environ)
                assert (response.status_code, path) == (404, path)
                assert (response.json["code"], "Location" in response.headers) == (
                    "not_found",
                    False,
                )


class TestCorpora:
    """Valid and invalid JSON bodies, and naughty strings."""

    @pytest.mark.parametrize("path", ["/tasks", "/auth/login"])
    def test_i16_only_invalid_json_is_malformed(self, alice, path):
        assert len(set(INVALID)) >= 150
        assert len(set(VALID)) >= 150
        outcomes = {}
        for body in (*VALID, *INVALID):
            response = alice.post(path, data=body, content_type=JSON)
            outcomes[body] = response.json.get("code", response.status_code)
        assert {
            body: outcomes[body] for body in INVALID if outcomes[body] != "malformed_json"
        } == {}
        accepted = {201, "validation_error"} if path == "/tasks" else {"validation_error"}
        assert {body: outcomes[body] for body in VALID if outcomes[body] not in accepted} == {}

    def test_i16_naughty_strings_are_stored_exactly(self, alice):
        assert len(set(STRINGS)) >= 300
        expected = {}
        for start in range(0, len(STRINGS), 20):
            batch = STRINGS[start : start + 20]
            operations = [
                {"op": "create", "body": {"title": f"{start + index}", "description": text}}
                for index, text in enumerate(batch)
            ]
            response = alice.post("/tasks/batch", {"operations": operations})
            assert response.status_code == 200, response.text[:500]
            for text, result in zip(batch, response.json["results"], strict=True):
                assert result["status"] == 201, text[:100]
                expected[result["body"]["id"]] = text
        found, cursor = {}, {}
        while cursor is not None:
            page = alice.get("/tasks", query_string={"limit": 200, **cursor}).json
            found |= {task["id"]: task["description"] for task in page["data"]}
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        assert found == expected

    def test_i16_naughty_titles_are_found_or_rejected(self, alice):
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

    def test_i16_naughty_strings_cause_no_server_error(self, alice, client):
        for text in STRINGS[::3]:
            account = {"username": text, "email": text, "password": "short"}
            assert "/email" in pointers(client.post("/api/v1/auth/register", json=account))
            assert pointers(alice.post("/tasks", {"title": "x", text: 1}))
            path = f"/api/v1/tasks/{quote(text[:500], safe='')}"
            assert client.get(path).status_code in {401, 404}


def test_i17_undeclared_sorts_and_fields_are_rejected(operations):
    lists = [operation for operation in operations if "limit" in operation.query]
    for operation in lists:
        for sort in ("password", "password_hash", "__class__", "title_key", "--title", "id;", "1"):
            assert parameters(operation.call(query_string={"sort": sort})) == {"sort"}
        for name in ("fields", "include", "expand", "order_by", "filter", "where"):
            assert parameters(operation.call(query_string={name: "__class__"})) == {name}
