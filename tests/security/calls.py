"""Every route of the application, with a valid call of each.

Routes come from the URL map and bodies from the examples in the OpenAPI document, so a new route is
covered without a change here. Values that an example cannot contain are in BODY_VALUES.
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
from app.api.openapi import Document, build
from app.auth import email_tokens
from app.auth.models import EmailTokenPurpose, Scope, User
from app.extensions import db
from tests.accounts import PASSWORD, Account, Accounts
from tests.forging import claims_of
from tests.waiting import drain

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Operations without a token.
PUBLIC = {
    "GET /",
    "GET /assets/{name}",
    "GET /api/v1",
    "GET /docs",
    "GET /health",
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
# Operations whose response contains a secret for the caller.
RETURNS_SECRETS = {
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/login/second-factor",
    "POST /api/v1/auth/reauthenticate",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/tokens",
    "POST /api/v1/auth/totp",
    "POST /api/v1/auth/totp/confirm",
}
UNKNOWN_IDS: Mapping[str, str] = {"session_id": "0" * 32}
UNKNOWN_ROW_ID = str(2**62)


@dataclass(frozen=True)
class Route:
    """A method of a path, with its operation in the OpenAPI document if it has one."""

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
    def has_owner(self) -> bool:
        """True if the path has the id of a resource that belongs to a user."""
        return any(name.endswith("_id") for name in self.ids)

    @property
    def schemes(self) -> set[str]:
        """The types of token that the route accepts."""
        return {scheme for one in (self.operation or {}).get("security", []) for scheme in one}

    @property
    def scope(self) -> str | None:
        """The scope that a personal access token needs."""
        return (self.operation or {}).get("x-required-scope")

    @property
    def content(self) -> Document:
        """The JSON content of the request body; empty if there is no body."""
        body: Document = (self.operation or {}).get("requestBody", {})
        return dict(body.get("content", {}).get("application/json", {}))


class World:
    """Users with one resource of each type; ``restore()`` resets the database to that state."""

    def __init__(self, app: Flask, accounts: Accounts) -> None:
        self.app = app
        self.document = build(app)
        self.ada, self.bob, self.dora = map(accounts.make, ("ada", "bob", "dora"))
        self.admin = accounts.make("root", admin=True)
        self.job_id = self._create_export()
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
        self._run(*map("CREATE TABLE copy_{0} AS SELECT * FROM {0}".format, self.rows))
        self._close_connections()

    def _create_export(self) -> int:
        """Create an export for ada, and run it."""
        job = self.ada.post("/exports", {"format": "json"}).json
        with self.app.app_context():
            drain()
        return int(job["id"])

    def _personal_token(self, scopes: set[Scope]) -> str:
        body = {"name": "script", "scopes": sorted(scopes)}
        response = self.ada.post("/auth/tokens", body)
        assert response.status_code == 201, response.text
        return str(response.json["token"])

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
        """Restore every table to its initial rows."""
        delete = map("DELETE FROM {0}".format, reversed(self.rows))
        insert = map("INSERT INTO {0} SELECT * FROM copy_{0}".format, self.rows)
        self._run(*delete, *insert)

    def end(self) -> None:
        """Drop the copies."""
        self._run(*map("DROP TABLE copy_{0}".format, self.rows))
        self._close_connections()

    def _close_connections(self) -> None:
        """Close pooled connections, which may have cached the list of tables."""
        with self.app.app_context():
            db.engine.dispose()

    def _run(self, *statements: str) -> None:
        with self.app.app_context(), db.engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # one round trip
                statements = ("; ".join(statements),)
            for statement in statements:
                connection.exec_driver_sql(statement)

    def routes(self) -> list[Route]:
        """Return every route, sorted by path."""
        routes = []
        for rule in self.app.url_map.iter_rules():
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                operation = self.document["paths"].get(path, {}).get(method.lower())
                routes.append(Route(method, path, operation))
        return sorted(routes, key=lambda route: (route.path, METHODS.index(route.method)))

    def path(self, route: Route, ids: Mapping[str, Any] | None = None) -> str:
        """Return the path of a route with ids, by default those of ada's resources."""
        values = self.ids | (ids or {})
        for name in route.ids:
            if name not in values:
                pytest.fail(f"{route.name}: add a value for {name} to World.ids.")
        return route.path.format(**values)

    def body(self, route: Route, account: Account) -> dict[str, Any] | None:
        """Return a valid body for ``account``, after the state that it needs was created."""
        operation = route.operation or {}
        values = BODY_VALUES.get(operation.get("operationId", ""), lambda *_: {})(self, account)
        if not route.content:
            return None
        if "example" not in route.content:
            pytest.fail(f"{route.name}: the document has no example of its body.")
        return deepcopy(route.content["example"]) | values

    def call(
        self, route: Route, account: Account, *, token: str | None = None, **kwargs: Any
    ) -> TestResponse:
        """Call a route, with a token if there is one, and by default with a valid body."""
        if "json" not in kwargs and "data" not in kwargs:
            kwargs["json"] = self.body(route, account)
        headers = dict(kwargs.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        path = self.path(route, kwargs.pop("ids", None))
        return self.app.test_client().open(path, method=route.method, headers=headers, **kwargs)

    def session_token(self, route: Route, account: Account) -> str:
        """Return the session token that a route accepts: usually the access token."""
        needs_refresh_token = route.schemes == {"refreshToken"}
        return account.refresh_token if needs_refresh_token else account.access_token

    def token_without_scope(self, route: Route) -> str:
        """Return a personal access token of ada that has every scope except that of the route."""
        return self.tokens[Scope(route.scope)] if route.scope else self.whole_token


def _email_token(purpose: EmailTokenPurpose) -> Callable[[World, Account], dict[str, Any]]:
    """Return a function that creates an email token of ada."""

    def create(world: World, _: Account) -> dict[str, Any]:
        with world.app.app_context():
            user = db.session.get_one(User, world.ada.id)
            token, _ = email_tokens.generate(email_tokens.reserve(user, purpose, user.email))
            db.session.commit()
        return {"token": token}

    return create


def _enroll(_: World, account: Account) -> dict[str, Any]:
    secret = account.post("/auth/totp").json["secret"]
    return {"code": TOTP(secret).now()}


def _challenge(world: World, _: Account) -> dict[str, Any]:
    _, recovery_codes = world.ada.enable_second_factor()
    credentials = {"username": "ada", "password": PASSWORD}
    client = world.app.test_client()
    challenge = client.post("/api/v1/auth/login", json=credentials).json["challenge"]
    return {"challenge": challenge, "code": recovery_codes[0]}


def _batch(world: World, _: Account) -> dict[str, Any]:
    task = world.tasks[world.ada.id]
    change = {"op": "update", "id": task["id"], "body": {"status": "completed"}}
    return {"atomic": True, "operations": [change]}


# Values of the body beyond the example; the functions also create the state that the call needs.
BODY_VALUES: Mapping[str, Callable[[World, Account], dict[str, Any]]] = {
    "register": lambda *_: {"username": "newcomer", "email": "newcomer@example.com"},
    "createPersonalToken": lambda *_: {"expires_at": None},
    "resetPassword": _email_token(EmailTokenPurpose.reset_password),
    "verifyEmail": _email_token(EmailTokenPurpose.verify_email),
    "confirmSecondFactor": _enroll,
    "readSecondFactor": _enroll,
    "removeSecondFactor": _enroll,
    "completeLogin": _challenge,
    "runTaskBatch": _batch,
}


def unknown_ids(route: Route) -> dict[str, str]:
    """Return ids of resources that never existed."""
    return {name: UNKNOWN_IDS.get(name, UNKNOWN_ROW_ID) for name in route.ids}


def impossible_ids(route: Route) -> dict[str, str]:
    """Return ids that no resource can have."""
    return dict.fromkeys(route.ids, "0")
