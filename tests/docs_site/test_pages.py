"""Documentation pages and their static files."""

import re

import pytest

from app.docs_site.assets import FILES
from app.errors import all_problems
from tests.problems import assert_problem

PAGES = ["/", "/docs", "/redoc", "/problems/not_found"]
CODES = [problem.code for problem in all_problems()]
# The codes of the contract that this release can return.
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
def test_page_is_html(client, path):
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert "<title>" in response.text
    assert response.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("name", sorted(FILES))
def test_file_has_its_media_type_and_supports_conditional_requests(client, name):
    path = f"/assets/{name}"
    response = client.get(path)
    assert response.status_code == 200
    assert response.data
    assert response.mimetype == FILES[name][1].partition(";")[0]
    assert response.headers["Cache-Control"] == "public, no-cache"
    again = client.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["x.js", "..", "../routes.py", "%2e%2e/routes.py"])
def test_other_files_are_404(client, name):
    assert_problem(client.get(f"/assets/{name}"), 404, "not_found")


def test_codes_of_the_contract_exist():
    assert set(CODES) >= EXPECTED


@pytest.mark.parametrize("problem", all_problems(), ids=lambda problem: problem.code)
def test_problem_page_has_detail_and_resolution(client, problem):
    text = client.get(f"/problems/{problem.code}").text
    assert f"<h1>{problem.title}</h1>" in text
    assert f"<code>{problem.code}</code>, status {int(problem.status)}" in text
    plain = re.sub(r"</?code>", "", text).replace("&#39;", "'").replace("&lt;", "<")
    plain = plain.replace("&gt;", ">")
    assert problem.detail in plain
    assert problem.resolution.replace("`", "") in plain


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/html;q=0.5"])
def test_problem_page_is_json_if_preferred(client, accept):
    response = client.get("/problems/stale_version", headers={"Accept": accept})
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.headers["Vary"] == "Accept"
    assert response.json == {
        "type": "http://127.0.0.1:5000/problems/stale_version",
        "title": "Stale version",
        "status": 412,
        "code": "stale_version",
        "detail": "The resource has changed since you read it.",
        "advice": (
            "Read the resource again, apply your change to it, and send the new `ETag` as"
            " `If-Match`."
        ),
    }


@pytest.mark.parametrize("accept", [None, "*/*", "text/html", "text/html, application/json;q=0.9"])
def test_problem_page_is_html_by_default(client, accept):
    headers = {} if accept is None else {"Accept": accept}
    assert client.get("/problems/conflict", headers=headers).mimetype == "text/html"


@pytest.mark.parametrize("path", ["/", "/problems/conflict"])
def test_page_of_another_media_type_is_406(client, path):
    response = client.get(path, headers={"Accept": "image/png"})
    body = assert_problem(response, 406, "not_acceptable")
    assert body["detail"] == "The response is text/html or application/json."


@pytest.mark.parametrize("code", ["x", "Not_found", "not-found", "not_found.html"])
def test_unknown_problem_is_404(client, code):
    assert_problem(client.get(f"/problems/{code}"), 404, "not_found")


def test_type_of_a_problem_is_the_url_of_its_page(client):
    problem = client.get("/api/v1/tasks").json
    response = client.get(problem["type"], headers={"Accept": "application/json"})
    assert response.json["type"] == problem["type"]
    assert response.json["code"] == problem["code"] == "authentication_required"


def test_index_links_to_all_pages(client):
    text = client.get("/").text
    for path in ("/docs", "/redoc", "/api/v1/openapi.json", "/api/v1/openapi.yaml"):
        assert f'href="{path}"' in text
    for code in CODES:
        assert f'href="/problems/{code}"' in text


def test_index_is_json_if_preferred(client):
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


def test_index_of_the_api_links_to_the_document_and_the_collections(app, client, alice):
    response = client.get("/api/v1")
    assert response.status_code == 200
    base = app.config["PUBLIC_URL"]
    collections = {
        "sessions": f"{base}/api/v1/auth/sessions",
        "tokens": f"{base}/api/v1/auth/tokens",
        "tasks": f"{base}/api/v1/tasks",
        "jobs": f"{base}/api/v1/jobs",
        "users": f"{base}/api/v1/users",
    }
    assert response.json == collections | {
        "openapi": f"{base}/api/v1/openapi.json",
        "docs": f"{base}/docs",
        "account": f"{base}/api/v1/auth/me",
    }
    assert client.get(response.json["openapi"]).json["openapi"] == "3.1.0"
    for name in ("tasks", "jobs", "sessions"):
        assert "data" in alice.get(response.json[name].removeprefix(f"{base}/api/v1")).json
