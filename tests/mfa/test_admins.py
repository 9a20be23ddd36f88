"""REQUIRE_ADMIN_SECOND_FACTOR: administrators without a second factor have no extra rights."""

import pytest

from tests.problems import assert_problem


@pytest.fixture
def second_factor_required(app, monkeypatch):
    monkeypatch.setitem(app.config, "REQUIRE_ADMIN_SECOND_FACTOR", True)


@pytest.fixture
def path(alice):
    """The path of a task of alice, which only alice and administrators can see."""
    return f"/tasks/{alice.task()['id']}"


def test_second_factor_is_optional_for_administrators_by_default(app, admin, path):
    assert app.config["REQUIRE_ADMIN_SECOND_FACTOR"] is False
    assert admin.get(path).status_code == 200


def test_administrator_without_second_factor_has_rights_of_a_user(
    second_factor_required, admin, path
):
    own = admin.task()
    for response in (admin.get(path), admin.delete(path), admin.patch(path, {"title": "Mine"})):
        assert_problem(response, 404, "not_found")
    assert admin.get(f"/tasks/{own['id']}").json == own
    assert admin.get("/auth/me").json["role"] == "admin"
    admin.post("/auth/totp")
    assert_problem(admin.get(path), 404, "not_found")


def test_rights_depend_on_current_second_factor(second_factor_required, admin, alice, path):
    admin.enable_second_factor()
    assert admin.get(path).status_code == 200
    assert admin.delete("/auth/totp").status_code == 204
    assert_problem(admin.get(path), 404, "not_found")


def test_second_factor_of_another_user_gives_no_rights(second_factor_required, admin, alice, path):
    alice.enable_second_factor()
    assert_problem(admin.get(path), 404, "not_found")


def test_second_factor_does_not_make_a_user_administrator(second_factor_required, alice, bob, path):
    bob.enable_second_factor()
    assert_problem(bob.get(path), 404, "not_found")


def test_personal_token_of_administrator_requires_second_factor(
    second_factor_required, admin, path
):
    payload = {"name": "script", "scopes": ["tasks:read"]}
    script = admin.with_new_client()
    script.access_token = admin.post("/auth/tokens", payload).json["token"]
    assert_problem(script.get(path), 404, "not_found")
    admin.enable_second_factor()
    assert script.get(path).status_code == 200


@pytest.mark.parametrize("required", [True, False])
def test_requirement_adds_no_statement(app, admin, statements, monkeypatch, required):
    monkeypatch.setitem(app.config, "REQUIRE_ADMIN_SECOND_FACTOR", required)
    with statements() as seen:
        assert admin.get("/auth/me").status_code == 200
    assert len(seen) == 2, seen
