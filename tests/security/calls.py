"""Every route of the application, and a call of it that whoever may would have accepted.

Routes are taken from the application and bodies from the examples of its document, so a new route
is called as it comes; what its example can't say is said in FILLED.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from pyotp import TOTP
from werkzeug.test import TestResponse

from app import clock
from app.auth import mailed_tokens
from app.auth.models import MailPurpose, Scope, User
from app.extensions import db
from app.http.openapi import Document, build
from app.outbox import work
from tests.accounts import PASSWORD, Account, Accounts
from tests.forging import claims_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What anyone may call without a token; the pages for people are outside of /api.
PUBLIC = {
    "GET /",
    "GET /assets/{name}",
    "GET /docs",
    "GET /health/live",
    "GET /health/ready",
    "GET /ping",
    "GET /problems/{code}",
    "GET /redoc",
    "GET /api/v1/openapi.json",
    "GET /api/v1/openapi.yaml",
    "POST /api/v1/auth/email/verify",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/login/second-factor",
    "POST /api/v1/auth/password/forgot",
    "POST /api/v1/auth/password/reset",
    "POST /api/v1/auth/register",
}
# What answers with a secret that is meant for whoever asks.
GIVES_SECRETS = {
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/login/second-factor",
    "POST /api/v1/auth/reauthenticate",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/tokens",
    "POST /api/v1/auth/totp",
    "POST /api/v1/auth/totp/confirm",
}
UNKNOWN: Mapping[str, str] = {"session_id": "0" * 32}
UNKNOWN_ROW = str(2**62)


@dataclass(frozen=True)
class Route:
    """One method of one path, and what the document says of it, if it is in there."""

    method: str
    path: str
    operation: Document | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def is_anyones(self) -> bool:
        """Tell whether its path names something that is someone's."""
        return any(name.endswith("_id") for name in self.ids)

    @property
    def schemes(self) -> set[str]:
        """The kinds of token that it takes."""
        return {scheme for one in (self.operation or {}).get("security", []) for scheme in one}

    @property
    def scope(self) -> str | None:
        """What a personal token needs to be taken."""
        return (self.operation or {}).get("x-required-scope")

    @property
    def content(self) -> Document:
        """What the document says of its body; empty where it takes none."""
        body: Document = (self.operation or {}).get("requestBody", {})
        return dict(body.get("content", {}).get("application/json", {}))


class World:
    """Accounts with one of each thing, which is there again before each call."""

    def __init__(self, app: Flask, accounts: Accounts) -> None:
        self.app = app
        self.document = build(app)
        self.ada, self.bob, self.dora = map(accounts.make, ("ada", "bob", "dora"))
        self.admin = accounts.make("root", admin=True)
        self.job_id = self._exported()
        self.tasks = {each.id: each.task() for each in (self.ada, self.bob)}
        self.tokens = {scope: self._personal_token(set(Scope) - {scope}) for scope in Scope}
        self.whole_token = self._personal_token(set(Scope))
        second_session = claims_of(accounts.log_in("ada").access_token)["sid"]
        self.ids: Mapping[str, Any] = {
            "task_id": self.tasks[self.ada.id]["id"],
            "user_id": self.ada.id,
            "job_id": self.job_id,
            "session_id": second_session,
            "token_id": self.ada.get("/auth/tokens").json["data"][0]["id"],
            "code": "not_found",
            "name": "site.css",
        }
        with app.app_context():
            db.session.get_one(User, self.dora.id).disabled_at = clock.now()
            db.session.commit()
        self.rows = self.stored()
        self._run(*map("CREATE TABLE kept_{0} AS SELECT * FROM {0}".format, self.rows))
        self._connect_anew()

    def _exported(self) -> int:
        """Have an export of ada's done."""
        job = self.ada.post("/exports", {"format": "json"}).json
        with self.app.app_context():
            work.drain()
        return int(job["id"])

    def _personal_token(self, scopes: set[Scope]) -> str:
        asked = {"name": "script", "scopes": sorted(scopes)}
        made = self.ada.post("/auth/tokens", asked)
        assert made.status_code == 201, made.text
        return str(made.json["token"])

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        """Return every row of every table."""
        with self.app.app_context():
            return {
                table.name: [
                    dict(row)
                    for row in db.session.execute(
                        table.select().order_by(*table.primary_key)
                    ).mappings()
                ]
                for table in db.metadata.sorted_tables
            }

    def restore(self) -> None:
        """Have every row as it was when the world was made, and no other."""
        emptied = map("DELETE FROM {0}".format, reversed(self.rows))
        filled = map("INSERT INTO {0} SELECT * FROM kept_{0}".format, self.rows)
        self._run(*emptied, *filled)

    def end(self) -> None:
        """Keep nothing more."""
        self._run(*map("DROP TABLE kept_{0}".format, self.rows))
        self._connect_anew()

    def _connect_anew(self) -> None:
        """Keep no connection that has read which tables there are, for it may go by that."""
        with self.app.app_context():
            db.engine.dispose()

    def _run(self, *statements: str) -> None:
        with self.app.app_context(), db.engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # which takes them all at once
                statements = ("; ".join(statements),)
            for statement in statements:
                connection.exec_driver_sql(statement)

    def routes(self) -> list[Route]:
        """Return every route, by its path."""
        found = []
        for rule in self.app.url_map.iter_rules():
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                told = self.document["paths"].get(path, {}).get(method.lower())
                found.append(Route(method, path, told))
        return sorted(found, key=lambda route: (route.path, METHODS.index(route.method)))

    def address(self, route: Route, ids: Mapping[str, Any] | None = None) -> str:
        """Return the path of a route with ids filled in: those of ada's things, or others."""
        told = self.ids | (ids or {})
        for name in route.ids:
            if name not in told:
                pytest.fail(f"{route.name}: say in World.ids what {name} may be.")
        return route.path.format(**told)

    def body(self, route: Route, account: Account) -> dict[str, Any] | None:
        """Return a body that ``account`` may send, after what must be there for it was made."""
        operation = route.operation or {}
        filled = FILLED.get(operation.get("operationId", ""), lambda *_: {})(self, account)
        if not route.content:
            return None
        if "example" not in route.content:
            pytest.fail(f"{route.name}: its body has no example in the document.")
        return deepcopy(route.content["example"]) | filled

    def call(
        self, route: Route, account: Account, *, token: str | None = None, **sent: Any
    ) -> TestResponse:
        """Call a route with a token, else with none, and a body that ``account`` may send."""
        if "json" not in sent and "data" not in sent:
            sent["json"] = self.body(route, account)
        headers = dict(sent.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        path = self.address(route, sent.pop("ids", None))
        return self.app.test_client().open(path, method=route.method, headers=headers, **sent)

    def session_token(self, route: Route, account: Account) -> str:
        """Return the token of an account's session that a route takes."""
        refreshes = "refreshToken" in route.schemes and "accessToken" not in route.schemes
        return account.refresh_token if refreshes else account.access_token

    def token_without_scope(self, route: Route) -> str:
        """Return a personal token of ada's that has every scope but the one of a route."""
        return self.tokens[Scope(route.scope)] if route.scope else self.whole_token


def _mailed(purpose: MailPurpose) -> Callable[[World, Account], dict[str, Any]]:
    """Return what has a token of ada's mailed, which anyone may present."""

    def fill(world: World, _: Account) -> dict[str, Any]:
        with world.app.app_context():
            user = db.session.get_one(User, world.ada.id)
            issued = mailed_tokens.issue(mailed_tokens.prepare(user, purpose, user.email))
            db.session.commit()
        assert issued
        return {"token": issued.token}

    return fill


def _enrolled(_: World, account: Account) -> dict[str, Any]:
    secret = account.post("/auth/totp").json["secret"]
    return {"code": TOTP(secret).now()}


def _challenged(world: World, _: Account) -> dict[str, Any]:
    _, recovery_codes = world.ada.enable_second_factor()
    credentials = {"username": "ada", "password": PASSWORD}
    client = world.app.test_client()
    challenge = client.post("/api/v1/auth/login", json=credentials).json["challenge"]
    return {"challenge": challenge, "code": recovery_codes[0]}


def _task_changed(world: World, _: Account) -> dict[str, Any]:
    task = world.tasks[world.ada.id]
    change = {"op": "update", "id": task["id"], "body": {"status": "completed"}}
    return {"atomic": True, "operations": [change]}


# What an operation must be sent, or find, beyond its example in the document.
FILLED: Mapping[str, Callable[[World, Account], dict[str, Any]]] = {
    "register": lambda *_: {"username": "newcomer", "email": "newcomer@example.com"},
    "createPersonalToken": lambda *_: {"expires_at": None},
    "resetPassword": _mailed(MailPurpose.reset_password),
    "verifyEmail": _mailed(MailPurpose.verify_email),
    "confirmSecondFactor": _enrolled,
    "readSecondFactor": _enrolled,
    "removeSecondFactor": _enrolled,
    "completeLogin": _challenged,
    "changeTasks": _task_changed,
}


def unknown_ids(route: Route) -> dict[str, str]:
    """Return ids for a route of what never was."""
    return {name: UNKNOWN.get(name, UNKNOWN_ROW) for name in route.ids}


def impossible_ids(route: Route) -> dict[str, str]:
    """Return what stands for no id: zero, which no row has and which is no token's."""
    return dict.fromkeys(route.ids, "0")
