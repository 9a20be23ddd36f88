"""Bodies: JSON in UTF-8 that says one thing, or a refusal, and no row is changed."""

import json
import time
from io import BytesIO

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem, pointers

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
WHOLE = b'{"title": "New", "status": "pending"}'


@pytest.fixture
def send(alice, stored):
    """Sends bytes as the body of a write that is to be refused, and sees that it wrote nothing."""
    task = alice.task()
    everything = select(*Task.__table__.c)
    before = stored(everything)

    def call(body, method="POST", content_type=JSON, path=None, **kwargs):
        path = path or ("/tasks" if method == "POST" else f"/tasks/{task['id']}")
        answer = alice.call(method, path, data=body, content_type=content_type, **kwargs)
        assert stored(everything) == before
        return answer

    return call


def nested(depth, opening=b"[", closing=b"]"):
    return b'{"title": ' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"


MALFORMED = {
    "nothing": b"",
    "white space": b" \n",
    "no quotes": b"{title: 1}",
    "single quotes": b"{'title': 'x'}",
    "a comma too many": b'{"title": "x",}',
    "a comment": b'{"title": "x"} // x',
    "two values": b'{"title": "x"}{}',
    "cut short": b'{"title": "x"',
    "a raw line break": b'{"title": "a\nb"}',
    "a bad escape": b'{"title": "\\x"}',
    "a number with a leading zero": b'{"title": 01}',
    "other digits": '{"title": ١}'.encode(),  # noqa: RUF001  # that is the point
    "invalid UTF-8": b'{"title": "\xff"}',
    "overlong UTF-8": b'{"title": "\xc0\x80"}',
    "a surrogate in UTF-8": b'{"title": "\xed\xa0\x80"}',
    "Latin-1": '{"title": "é"}'.encode("latin-1"),
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"title": "x"}'.encode("utf-16-le"),
    "UTF-32": '{"title": "x"}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"title": "x"}',
    "a raw NUL": b'{"title": "x"}\0',
    "NaN": b'{"title": NaN}',
    "Infinity": b'{"title": Infinity}',
    "-Infinity": b'{"title": -Infinity}',
    "1e999": b'{"title": 1e999}',
    "-1e999": b'{"title": [-1e999]}',
    "a key twice": b'{"title": "x", "title": "y"}',
    "a key twice, once escaped": b'{"title": "x", "t\\u0069tle": "x"}',
    "a key twice inside": b'{"title": [{"a": 1, "a": 1}]}',
    "a literal of 5,000 digits": b'{"title": ' + b"9" * 5000 + b"}",
    "a list 33 deep": nested(33),
    "an object 33 deep": nested(33, b'{"a":', b"}"),
    "100,000 [": b"[" * 100_000,
    "100,000 ]": b"]" * 100_000,
    '5,000 {"a":': b'{"a":' * 5000,
    "nesting behind a string of brackets": b'{"a": "]]]\\"]", "b": ' + b"[" * 40 + b"]" * 40 + b"}",
}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_json_or_says_two_things_is_malformed(send, method, body):
    assert_problem(send(body, method), 400, "malformed_json")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"a": 1, "a": 2}', "A key stands twice in one object."),
        (b'{"a": NaN}', "NaN is not a JSON value."),
        (b'{"a": 1e999}', "A number is too large."),
        (nested(33), "The body is nested more than 32 deep."),
        (b"{", "The body is not valid JSON."),
    ],
)
def test_a_malformed_body_is_told_why(send, body, detail):
    assert_problem(send(body), 400, "malformed_json", detail=detail)


@pytest.mark.parametrize("body", [nested(32), nested(32, b'{"a":', b"}"), b'{"title": 1e308}'])
def test_what_can_be_read_is_judged_by_its_fields(send, body):
    assert pointers(send(body)) == {"/title"}


def test_brackets_in_a_string_are_no_nesting(alice):
    title = '[{"\\' * 30
    assert alice.task(title)["title"] == title


@pytest.mark.parametrize("end", [b"", b'\\"' * 500_000, b'"' * 500_000, b"\\" * 500_000])
def test_a_body_that_never_ends_its_string_is_refused_at_once(send, end):
    started = time.perf_counter()
    assert_problem(send(b"[" * 33 + b'"' + end), 400, "malformed_json")
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("body", [b"null", b"[]", b"[{}]", b'"x"', b"1", b"1.5", b"true", b'""'])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_json_of_another_type_is_no_object(send, method, body):
    assert pointers(send(body, method)) == {""}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"title": "a\\u0000b"}', "/title"),
        (b'{"title": "x", "description": "\\ud800"}', "/description"),
        (b'{"title": "x", "description": "\\udc00\\ud800"}', "/description"),
        (b'{"title": "x", "a\\u0000b": 1}', "/a\0b"),
        (b'{"title": "x", "\\ud800": 1}', "/\\ud800"),
        (b'{"title": "x", "description": {"\\ud800": "\\u0000"}}', "/description"),
    ],
)
def test_nul_and_lone_surrogates_are_refused_by_pointer(send, body, pointer):
    assert pointers(send(body)) == {pointer}


def test_a_pair_of_surrogates_is_one_character(alice):
    answer = alice.post("/tasks", data=b'{"title": "\\ud83d\\ude00"}', content_type=JSON)
    assert answer.json["title"] == "\N{GRINNING FACE}"


WRONG_TYPES = [
    None,
    "",
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonx",
    "application/xml",
    "application/vnd.api+json",
    "application/problem+json",
    "application/json-patch+json",
    "application",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "application/json; charset=x-unknown",
]


@pytest.mark.parametrize("content_type", WRONG_TYPES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_that_is_not_said_to_be_utf8_json_is_unsupported(send, method, content_type):
    answer = send(WHOLE, method, content_type)
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_merge_patch_is_for_patch_alone(send, method):
    assert_problem(send(WHOLE, method, MERGE_PATCH), 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "x-gzip", "gzip, identity"])
def test_a_compressed_body_is_unsupported(send, encoding):
    answer = send(WHOLE, headers={"Content-Encoding": encoding})
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json; indent=2",
        MERGE_PATCH,
        f"{MERGE_PATCH}; charset=utf-8",
    ],
)
def test_json_is_taken_under_each_of_its_names(alice, content_type):
    path = f"/tasks/{alice.task()['id']}"
    headers = {"Content-Encoding": "identity"}
    answer = alice.patch(path, data=WHOLE, content_type=content_type, headers=headers)
    assert answer.json["title"] == "New"


LARGEST = 1024 * 1024


def of_size(size):
    body = json.dumps({"title": "x", "unknown": ""}).encode()
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_a_mebibyte_is_read_and_a_byte_more_is_too_large(send, chunked):
    def sent(body):
        if not chunked:
            return send(body)
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        return send(None, input_stream=BytesIO(body), environ_overrides=environ)

    assert pointers(sent(of_size(LARGEST))) == {"/unknown"}
    assert_problem(sent(of_size(LARGEST + 1)), 413, "payload_too_large")


@pytest.mark.parametrize("body", [b"{", b"null", b"", b"x" * (LARGEST + 1)])
def test_who_sends_is_asked_before_what_is_sent(client, stored, body):
    for content_type in (JSON, "text/plain"):
        answer = client.post("/api/v1/tasks", data=body, content_type=content_type)
        assert_problem(answer, 401, "authentication_required")
    assert stored(select(Task.id)) == []
