"""Accounts to act for in tests, made and used through the API."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from pyotp import TOTP
from werkzeug.test import TestResponse

from app.auth import services
from app.auth.models import Role
from tests.mailbox import Mailbox

PASSWORD = "correct horse battery"


class Account:
    """An account that is logged in; its methods are HTTP's."""

    def __init__(self, client: FlaskClient, login: dict[str, Any]) -> None:
        self.client = client
        self.login = login
        self.id: int = login["user"]["id"]
        self.username: str = login["user"]["username"]
        self.access_token: str = login["access_token"]
        self.refresh_token: str = login["refresh_token"]

    def again(self) -> "Account":
        """The same account on a new connection, logged in anew if its token has expired."""
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
        """Enrol and confirm a second factor; return what makes its codes, and its recovery codes.

        The code of this moment is spent.
        """
        enrolled = self.post("/auth/totp")
        assert enrolled.status_code == 201, enrolled.text
        totp = TOTP(enrolled.json["secret"])
        confirmed = self.post("/auth/totp/confirm", {"code": totp.now()})
        assert confirmed.status_code == 200, confirmed.text
        return totp, confirmed.json["recovery_codes"]

    def task(self, title: str = "Buy milk", **fields: Any) -> dict[str, Any]:
        """Create a task and return it."""
        response = self.post("/tasks", {"title": title, **fields})
        assert response.status_code == 201, response.text
        return dict(response.json)


class Accounts:
    """Makes accounts."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client()

    def make(self, username: str, *, admin: bool = False, password: str = PASSWORD) -> Account:
        with self.app.app_context():
            services.register(
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


def prove_address(account: Account, mails: Mailbox) -> Account:
    """Prove the address of an account by the token that was mailed to it."""
    token = mails.token(f"{account.username}@example.com")
    proved = account.client.post("/api/v1/auth/email/verify", json={"token": token})
    assert proved.status_code == 204, proved.text
    return account
