"""Checks C1 to C3: who may keep an answer (RFC 9111), and what the pages load."""

import os
import re

import pytest

from app.site.assets import FILES
from benchmarks.server import Client, started
from tests.accounts import PASSWORD
from tests.security.calls import GIVES_SECRETS, PUBLIC, unknown_ids

PAGES = ["/", "/docs", "/redoc", "/problems/not_found"]
# What a browser would fetch of itself, in a page, a style sheet or a script.
LOADED = re.compile(
    r"""(?:\bsrc|\bhref|\bdata-document|\baction)\s*=\s*["']?([^"'\s>]+)"""
    r"""|url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""",
    re.IGNORECASE,
)


def vary(answer):
    return {name.strip() for told in answer.headers.getlist("Vary") for name in told.split(",")}


def assert_private(answer, where):
    assert answer.headers.getlist("Cache-Control") == ["private, no-cache"], where
    assert "Authorization" in vary(answer), where


def test_c1_every_answer_to_an_authenticated_request_is_private_and_one_with_a_token_is_not_stored(
    world,
):
    for route in world.routes():
        world.restore()
        token = world.session_token(route, world.ada)
        answer = world.call(route, world.ada, token=token)
        if route.name in GIVES_SECRETS:
            assert answer.status_code in {200, 201}, route.name
            assert answer.headers.getlist("Cache-Control") == ["no-store"], route.name
        elif route.path.startswith(("/health/", "/ping")):
            assert answer.headers["Cache-Control"] == "no-store"  # what was true a moment ago
        else:
            assert_private(answer, route.name)


def test_c1_so_is_every_refusal(world):
    for route in world.routes():
        if route.name not in PUBLIC:
            token = world.session_token(route, world.bob)
            wrong = {"json": {"no": "such field"}, "ids": unknown_ids(route)}
            for presented in (token, "x", world.whole_token, world.dora.access_token):
                answer = world.call(route, world.bob, token=presented, **wrong)
                if answer.status_code >= 400:
                    assert_private(answer, route.name)
    assert_private(world.ada.get("/nothing"), "404")
    assert_private(world.ada.call("BREW", "/tasks"), "405")
    assert_private(world.ada.call("HEAD", "/tasks"), "HEAD")
    assert_private(world.ada.call("OPTIONS", "/tasks"), "OPTIONS")


def test_c1_without_a_token_in_the_request_one_in_the_answer_is_not_stored_either(world):
    for route in world.routes():
        if route.name in GIVES_SECRETS & PUBLIC:
            world.restore()
            answer = world.call(route, world.ada)
            assert answer.json["access_token"]
            assert answer.headers.getlist("Cache-Control") == ["no-store"], route.name
    world.restore()
    world.ada.enable_second_factor()
    credentials = {"username": "ada", "password": PASSWORD}
    challenged = world.app.test_client().post("/api/v1/auth/login", json=credentials)
    assert challenged.json["challenge"]
    assert challenged.headers.getlist("Cache-Control") == ["no-store"]


def test_c1_a_304_is_private_too(alice):
    task = alice.task()
    for path in (f"/tasks/{task['id']}", "/tasks", "/auth/sessions"):
        tag = alice.get(path).headers["ETag"]
        answer = alice.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == 304
        assert_private(answer, path)


def test_c2_after_a_write_every_worker_reads_it_and_nobody_reads_anothers():
    database = os.environ.get("TEST_DATABASE_URL")
    with started(database, WEB_CONCURRENCY="3", RATELIMIT_ENABLED="0") as server:
        accounts = {}
        for name in ("ada", "bob"):
            with Client(server.port) as client:
                account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
                assert client.call("POST", "/auth/register", account)[0] == 201
                client.log_in(name, PASSWORD)
                accounts[name] = client.headers

        def anew(name, *call):
            with Client(server.port) as client:
                client.headers = accounts[name]
                return client.call(*call)

        task_id = anew("ada", "POST", "/tasks", {"title": "Written 0"})[1]["id"]
        path = f"/tasks/{task_id}"
        for number in range(1, 6):
            title = f"Written {number}"
            assert anew("ada", "PATCH", path, {"title": title})[0] == 200
            for _ in range(10):
                assert anew("ada", "GET", path)[1]["title"] == title
                listed = anew("ada", "GET", "/tasks")[1]["data"]
                assert [task["title"] for task in listed] == [title]
                assert anew("bob", "GET", path)[0] == 404
                assert anew("bob", "GET", "/tasks")[1]["data"] == []
                assert anew("bob", "GET", "/auth/me")[1]["username"] == "bob"
        assert len(server.workers()) == 3
        assert anew("ada", "DELETE", path)[0] == 204
        assert {anew("ada", "GET", path)[0] for _ in range(10)} == {404}


@pytest.mark.parametrize("path", PAGES)
def test_c3_a_page_names_no_other_host_and_every_file_that_it_names_is_there(client, path):
    text = client.get(path).text
    named = re.findall(r'(?:src|href|data-document)="([^"]*)"', text)
    assert named
    for address in named:
        assert re.match(r"/(?!/)|#", address), address
        assert client.get(address).status_code == 200, address
    assert "<script>" not in text
    assert " style=" not in text
    assert " onload=" not in text


@pytest.mark.parametrize("path", PAGES)
def test_c3_a_page_may_load_only_from_its_own_host(client, path):
    parts = client.get(path).headers["Content-Security-Policy"].split(";")
    said = {name: set(sources) for name, *sources in map(str.split, parts)}
    assert said["default-src"] == said["base-uri"] == said["form-action"] == {"'none'"}
    assert said["frame-ancestors"] == {"'none'"}
    scripts = {"script-src": {"'self'"}, "connect-src": {"'self'"}, "worker-src": {"blob:"}}
    tool = path in {"/docs", "/redoc"}
    for name, sources in scripts.items():
        assert said.get(name) == (sources if tool else None)
    assert said["style-src"] == ({"'self'", "'unsafe-inline'"} if tool else {"'self'"})
    assert said["img-src"] == ({"'self'", "data:"} if tool else {"'self'"})


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".css")))
def test_c3_a_style_sheet_loads_nothing_from_another_host(client, name):
    for match in LOADED.finditer(client.get(f"/assets/{name}").text):
        address = next(filter(None, match.groups()))
        assert not re.match(r"https?:|//", address), address


def test_c3_redoc_does_not_fetch_its_logo_from_elsewhere(client):
    script = client.get("/assets/redoc.standalone.js").data
    assert b"cdn.redoc.ly" not in script
    assert b'"assets/logo-mini.svg"' in script
