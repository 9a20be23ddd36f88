"""Checks C1 to C3: cache headers (RFC 9111), and what the documentation pages load."""

import os
import re

import pytest

from app.docs_site.assets import FILES
from benchmarks.server import Client, started
from tests.accounts import PASSWORD
from tests.security.calls import PUBLIC, RETURNS_SECRETS, unknown_ids

PAGES = ["/", "/docs", "/redoc", "/problems/not_found"]
# References that a browser loads, in pages, style sheets and scripts.
LOADED = re.compile(
    r"""(?:\bsrc|\bhref|\bdata-document|\baction)\s*=\s*["']?([^"'\s>]+)"""
    r"""|url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""",
    re.IGNORECASE,
)


def vary(response):
    return {name.strip() for value in response.headers.getlist("Vary") for name in value.split(",")}


def assert_private(response, where):
    assert response.headers.getlist("Cache-Control") == ["private, no-cache"], where
    assert "Authorization" in vary(response), where


def test_c1_authenticated_responses_are_private_and_tokens_are_no_store(
    world,
):
    for route in world.routes():
        world.restore()
        token = world.session_token(route, world.ada)
        response = world.call(route, world.ada, token=token)
        if route.name in RETURNS_SECRETS:
            assert response.status_code in {200, 201}, route.name
            assert response.headers.getlist("Cache-Control") == ["no-store"], route.name
        elif route.path.startswith(("/health", "/ping")):
            assert response.headers["Cache-Control"] == "no-store"  # it is out of date at once
        else:
            assert_private(response, route.name)


def test_c1_error_responses_are_private(world):
    for route in world.routes():
        if route.name not in PUBLIC:
            token = world.session_token(route, world.bob)
            invalid = {"json": {"no": "such field"}, "ids": unknown_ids(route)}
            for bearer in (token, "x", world.whole_token, world.dora.access_token):
                response = world.call(route, world.bob, token=bearer, **invalid)
                if response.status_code >= 400:
                    assert_private(response, route.name)
    assert_private(world.ada.get("/nothing"), "404")
    assert_private(world.ada.call("BREW", "/tasks"), "405")
    assert_private(world.ada.call("HEAD", "/tasks"), "HEAD")
    assert_private(world.ada.call("OPTIONS", "/tasks"), "OPTIONS")


def test_c1_tokens_in_public_responses_are_no_store(world):
    for route in world.routes():
        if route.name in RETURNS_SECRETS & PUBLIC:
            world.restore()
            response = world.call(route, world.ada)
            assert response.json["access_token"]
            assert response.headers.getlist("Cache-Control") == ["no-store"], route.name
    world.restore()
    world.ada.enable_second_factor()
    credentials = {"username": "ada", "password": PASSWORD}
    challenged = world.app.test_client().post("/api/v1/auth/login", json=credentials)
    assert challenged.json["challenge"]
    assert challenged.headers.getlist("Cache-Control") == ["no-store"]


def test_c1_not_modified_responses_are_private(alice):
    task = alice.task()
    for path in (f"/tasks/{task['id']}", "/tasks", "/auth/sessions"):
        tag = alice.get(path).headers["ETag"]
        response = alice.get(path, headers={"If-None-Match": tag})
        assert response.status_code == 304
        assert_private(response, path)


def test_c2_writes_are_visible_on_every_worker_and_only_to_their_user():
    database = os.environ.get("TEST_DATABASE_URL")
    with started(database, WEB_CONCURRENCY="3", RATELIMIT_ENABLED="0") as server:
        accounts = {}
        for name in ("ada", "bob"):
            with Client(server.port) as client:
                account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
                assert client.call("POST", "/auth/register", account)[0] == 201
                client.log_in(name, PASSWORD)
                accounts[name] = client.headers

        def call(name, *request):
            with Client(server.port) as client:
                client.headers = accounts[name]
                return client.call(*request)

        task_id = call("ada", "POST", "/tasks", {"title": "Written 0"})[1]["id"]
        path = f"/tasks/{task_id}"
        for number in range(1, 6):
            title = f"Written {number}"
            assert call("ada", "PATCH", path, {"title": title})[0] == 200
            for _ in range(10):
                assert call("ada", "GET", path)[1]["title"] == title
                listed = call("ada", "GET", "/tasks")[1]["data"]
                assert [task["title"] for task in listed] == [title]
                assert call("bob", "GET", path)[0] == 404
                assert call("bob", "GET", "/tasks")[1]["data"] == []
                assert call("bob", "GET", "/auth/me")[1]["username"] == "bob"
        assert len(server.workers()) == 3
        assert call("ada", "DELETE", path)[0] == 204
        assert {call("ada", "GET", path)[0] for _ in range(10)} == {404}


@pytest.mark.parametrize("path", PAGES)
def test_c3_pages_reference_only_existing_local_files(client, path):
    text = client.get(path).text
    addresses = re.findall(r'(?:src|href|data-document)="([^"]*)"', text)
    assert addresses
    for address in addresses:
        assert re.match(r"/(?!/)|#", address), address
        assert client.get(address).status_code == 200, address
    assert "<script>" not in text
    assert " style=" not in text
    assert " onload=" not in text


@pytest.mark.parametrize("path", PAGES)
def test_c3_content_security_policy_allows_only_the_own_host(client, path):
    parts = client.get(path).headers["Content-Security-Policy"].split(";")
    policy = {name: set(sources) for name, *sources in map(str.split, parts)}
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == {"'none'"}
    assert policy["frame-ancestors"] == {"'none'"}
    scripts = {"script-src": {"'self'"}, "connect-src": {"'self'"}, "worker-src": {"blob:"}}
    is_viewer = path in {"/docs", "/redoc"}
    for name, sources in scripts.items():
        assert policy.get(name) == (sources if is_viewer else None)
    assert policy["style-src"] == ({"'self'", "'unsafe-inline'"} if is_viewer else {"'self'"})
    assert policy["img-src"] == ({"'self'", "data:"} if is_viewer else {"'self'"})


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".css")))
def test_c3_style_sheets_load_nothing_from_other_hosts(client, name):
    for match in LOADED.finditer(client.get(f"/assets/{name}").text):
        address = next(filter(None, match.groups()))
        assert not re.match(r"https?:|//", address), address


def test_c3_redoc_logo_is_local(client):
    script = client.get("/assets/redoc.standalone.js").data
    assert b"cdn.redoc.ly" not in script
    assert b'"assets/logo-mini.svg"' in script
