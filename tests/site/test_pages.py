"""The pages: public, readable, and made of files that are served with them."""

import re

import pytest

from app.errors import kinds
from app.site.assets import FILES
from tests.problems import assert_problem

PAGES = ["/", "/docs", "/redoc", "/problems/not_found"]
CODES = [kind.code for kind in kinds()]
# What the contract has, and nothing can raise yet, is left out.
EXPECTED = {
    "bad_request",
    "malformed_json",
    "authentication_required",
    "invalid_token",
    "token_expired",
    "token_revoked",
    "token_reused",
    "wrong_token_type",
    "fresh_token_required",
    "invalid_credentials",
    "second_factor_required",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "not_acceptable",
    "payload_too_large",
    "unsupported_media_type",
    "conflict",
    "idempotency_in_progress",
    "stale_version",
    "validation_error",
    "invalid_cursor",
    "idempotency_key_reused",
    "internal_error",
    "unavailable",
}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_html_for_everyone(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "<title>" in answer.text
    assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_is_served_with_its_type_and_to_who_has_it_as_304(client, name):
    path = f"/assets/{name}"
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.data
    assert answer.mimetype == FILES[name][1].partition(";")[0]
    assert answer.headers["Cache-Control"] == "public, no-cache"
    again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["x.js", "..", "../routes.py", "%2e%2e/routes.py"])
def test_no_other_file_is_served(client, name):
    assert_problem(client.get(f"/assets/{name}"), 404, "not_found")


def test_the_codes_are_those_of_the_contract():
    assert set(CODES) >= EXPECTED


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.code)
def test_a_problem_has_a_page_that_says_what_it_means_and_what_to_do(client, kind):
    text = client.get(f"/problems/{kind.code}").text
    assert f"<h1>{kind.title}</h1>" in text
    assert f"<code>{kind.code}</code>, status {int(kind.status)}" in text
    plain = re.sub(r"</?code>", "", text).replace("&#39;", "'").replace("&lt;", "<")
    plain = plain.replace("&gt;", ">")
    assert kind.detail in plain
    assert kind.advice.replace("`", "") in plain


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/html;q=0.5"])
def test_a_problem_is_json_for_who_asks_for_it(client, accept):
    answer = client.get("/problems/stale_version", headers={"Accept": accept})
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["Vary"] == "Accept"
    assert answer.json == {
        "type": "http://127.0.0.1:5000/problems/stale_version",
        "title": "Stale version",
        "status": 412,
        "code": "stale_version",
        "detail": "This was changed since; read it again.",
        "advice": (
            "Read it again, apply your change to what is there now, and send the new `ETag` as "
            "`If-Match`."
        ),
    }


@pytest.mark.parametrize("accept", [None, "*/*", "text/html", "text/html, application/json;q=0.9"])
def test_a_problem_is_a_page_for_everyone_else(client, accept):
    headers = {} if accept is None else {"Accept": accept}
    assert client.get("/problems/conflict", headers=headers).mimetype == "text/html"


@pytest.mark.parametrize("path", ["/", "/problems/conflict"])
def test_a_page_is_nothing_but_html_or_json(client, path):
    answer = client.get(path, headers={"Accept": "image/png"})
    body = assert_problem(answer, 406, "not_acceptable")
    assert body["detail"] == "The answer is text/html or application/json."


@pytest.mark.parametrize("code", ["x", "Not_found", "not-found", "not_found.html"])
def test_an_unknown_problem_is_not_found(client, code):
    assert_problem(client.get(f"/problems/{code}"), 404, "not_found")


def test_the_type_of_a_problem_is_the_address_of_its_page(client):
    refused = client.get("/api/v1/tasks").json
    answer = client.get(refused["type"], headers={"Accept": "application/json"})
    assert answer.json["type"] == refused["type"]
    assert answer.json["code"] == refused["code"] == "authentication_required"


def test_the_front_page_leads_to_all_of_them(client):
    text = client.get("/").text
    for path in ("/docs", "/redoc", "/api/v1/openapi.json", "/api/v1/openapi.yaml"):
        assert f'href="{path}"' in text
    for code in CODES:
        assert f'href="/problems/{code}"' in text


def test_the_front_page_is_json_for_who_asks_for_it(client):
    body = client.get("/", headers={"Accept": "application/json"}).json
    assert body == {
        "name": "Task API",
        "version": "1.0.0",
        "docs": "http://127.0.0.1:5000/docs",
        "redoc": "http://127.0.0.1:5000/redoc",
        "openapi_json": "http://127.0.0.1:5000/api/v1/openapi.json",
        "openapi_yaml": "http://127.0.0.1:5000/api/v1/openapi.yaml",
        "problems": {code: f"http://127.0.0.1:5000/problems/{code}" for code in CODES},
    }
