"""Administrators who must have a second factor are users until they have one."""

import pytest

from tests.problems import assert_problem


@pytest.fixture
def demanded(app, monkeypatch):
    monkeypatch.setitem(app.config, "REQUIRE_ADMIN_SECOND_FACTOR", True)


@pytest.fixture
def path(alice):
    """A task of somebody's, which only an administrator may see too."""
    return f"/tasks/{alice.task()['id']}"


def test_by_default_an_administrator_needs_no_second_factor(app, admin, path):
    assert app.config["REQUIRE_ADMIN_SECOND_FACTOR"] is False
    assert admin.get(path).status_code == 200


def test_an_administrator_without_a_second_factor_acts_as_a_user(demanded, admin, path):
    own = admin.task()
    for answer in (admin.get(path), admin.delete(path), admin.patch(path, {"title": "Mine"})):
        assert_problem(answer, 404, "not_found")
    assert admin.get(f"/tasks/{own['id']}").json == own
    assert admin.get("/auth/me").json["role"] == "admin"
    admin.post("/auth/totp")
    assert_problem(admin.get(path), 404, "not_found")


def test_the_rights_come_and_go_with_the_second_factor(demanded, admin, alice, path):
    admin.enable_second_factor()
    assert admin.get(path).status_code == 200
    assert admin.delete("/auth/totp").status_code == 204
    assert_problem(admin.get(path), 404, "not_found")


def test_the_second_factor_of_another_gives_no_rights(demanded, admin, alice, path):
    alice.enable_second_factor()
    assert_problem(admin.get(path), 404, "not_found")


def test_a_second_factor_makes_nobody_an_administrator(demanded, alice, bob, path):
    bob.enable_second_factor()
    assert_problem(bob.get(path), 404, "not_found")


def test_a_personal_token_of_an_administrator_needs_it_too(demanded, admin, path):
    asked = {"name": "script", "scopes": ["tasks:read"]}
    script = admin.with_new_client()
    script.access_token = admin.post("/auth/tokens", asked).json["token"]
    assert_problem(script.get(path), 404, "not_found")
    admin.enable_second_factor()
    assert script.get(path).status_code == 200


@pytest.mark.parametrize("demand", [True, False])
def test_asking_for_it_takes_no_statement_more(app, admin, statements, monkeypatch, demand):
    monkeypatch.setitem(app.config, "REQUIRE_ADMIN_SECOND_FACTOR", demand)
    with statements() as seen:
        assert admin.get("/auth/me").status_code == 200
    assert len(seen) == 2, seen
