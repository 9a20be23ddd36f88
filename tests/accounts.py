"""Logged-in users that tests send requests as."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from pyotp import TOTP
from werkzeug.test import TestResponse

from app.auth.models import Role
from app.auth.services.account import register
from tests.mailbox import Mailbox

PASSWORD = "correct horse battery"


class Account:
    """A logged-in user, with a method for each HTTP method."""

    def __init__(self, client: FlaskClient, login: dict[str, Any]) -> None:
        self.client = client
        self.login = login
        self.id: int = login["user"]["id"]
        self.username: str = login["user"]["username"]
        self.access_token: str = login["access_token"]
        self.refresh_token: str = login["refresh_token"]

    def with_new_client(self) -> "Account":
        """Return the same user with a new client, logged in again if the token has expired."""
        client = self.client.application.test_client()
        account = Account(client, self.login)
        if account.get("/auth/me").status_code == 401:
            credentials = {"username": self.username, "password": PASSWORD}
            account = Account(client, client.post("/api/v1/auth/login", json=credentials).json)
        return account

    def call(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.access_token}"} | kwargs.pop("headers", {})
        return self.client.open(f"/api/v1{path}", method=method, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("POST", path, json=json, **kwargs)

    def put(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("PUT", path, json=json, **kwargs)

    def patch(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("PATCH", path, json=json, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> TestResponse:
        return self.call("DELETE", path, **kwargs)

    def enable_second_factor(self) -> tuple[TOTP, list[str]]:
        """Enroll and confirm TOTP; return the generator of its codes, and the recovery codes.

        The current code is used up.
        """
        enrollment = self.post("/auth/totp")
        assert enrollment.status_code == 201, enrollment.text
        totp = TOTP(enrollment.json["secret"])
        confirmation = self.post("/auth/totp/confirm", {"code": totp.now()})
        assert confirmation.status_code == 200, confirmation.text
        return totp, confirmation.json["recovery_codes"]

    def task(self, title: str = "Buy milk", **fields: Any) -> dict[str, Any]:
        """Create a task and return it."""
        response = self.post("/tasks", {"title": title, **fields})
        assert response.status_code == 201, response.text
        return dict(response.json)


class Accounts:
    """Creates users."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client()

    def make(self, username: str, *, admin: bool = False, password: str = PASSWORD) -> Account:
        with self.app.app_context():
            register(
                username=username,
                email=f"{username}@example.com",
                password=password,
                role=Role.admin if admin else Role.user,
            )
        return self.log_in(username, password)

    def log_in(self, username: str, password: str = PASSWORD) -> Account:
        response = self.client.post(
            "/api/v1/auth/login", json={"username": username, "password": password}
        )
        assert response.status_code == 200, response.text
        return Account(self.client, response.json)


def verify_email(account: Account, mails: Mailbox) -> Account:
    """Verify the email address of a user with the emailed token."""
    token = mails.token(f"{account.username}@example.com")
    response = account.client.post("/api/v1/auth/email/verify", json={"token": token})
    assert response.status_code == 204, response.text
    return account
