"""The operations of the OpenAPI document with their fields and parameters, for input tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from app.api.openapi import Document, build
from tests.accounts import Account

JSON = "application/json"
FORM = "multipart/form-data"


@dataclass(frozen=True)
class Operation:
    """An operation with a valid path, and what it accepts."""

    account: Account
    name: str
    method: str
    path: str
    public: bool
    uses_refresh_token: bool
    body: dict[str, Any] | None
    fields: dict[str, Document]
    query: dict[str, Document]

    def call(self, **kwargs: Any) -> TestResponse:
        """Call the operation with a sufficient token; ``path`` replaces its own path."""
        account, headers = self.account, dict(kwargs.pop("headers", {}))
        if not self.public:
            token = account.refresh_token if self.uses_refresh_token else account.access_token
            headers["Authorization"] = f"Bearer {token}"
        path = kwargs.pop("path", self.path)
        return account.client.open(path, method=self.method, headers=headers, **kwargs)

    def send(self, raw: bytes | str, content_type: str | None = JSON) -> TestResponse:
        """Call the operation with a raw body."""
        return self.call(data=raw, content_type=content_type)

    @property
    def row_id(self) -> str | None:
        """The row id in the path, if there is one."""
        return next(filter(str.isdecimal, self.path.split("/")), None)

    def path_with(self, other: int | str) -> str:
        """Return the path with another value in place of the row id."""
        return self.path.replace(f"/{self.row_id}", f"/{other}")


def types(schema: Document) -> set[str]:
    """Return the types that a schema accepts."""
    value = schema.get("type", [])
    return {value} if isinstance(value, str) else set(value)


def operations(account: Account) -> Iterator[Operation]:
    """Yield every operation of the document, with the ids of existing rows in its path."""
    document = build(account.client.application)
    ids = {
        "task_id": account.task()["id"],
        "session_id": account.get("/auth/sessions").json["data"][0]["id"],
        "user_id": account.id,
        "job_id": account.post("/exports", {"format": "csv"}).json["id"],
        "token_id": account.post("/auth/tokens", {"name": "Script", "scopes": ["tasks:read"]}).json[
            "id"
        ],
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "parameters":
                continue
            contents = operation.get("requestBody", {}).get("content", {})
            # tests/jobs covers uploaded files.
            content = {} if FORM in contents else contents.get(JSON, {})
            reference = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            schema = document["components"]["schemas"].get(reference, {})
            schemes = [name for one in operation["security"] for name in one]
            yield Operation(
                account=account,
                name=operation["operationId"],
                method=method.upper(),
                path=path.format(**ids),
                public=not schemes,
                uses_refresh_token=schemes == ["refreshToken"],
                body=content.get("example"),
                fields=schema.get("properties", {}),
                query={
                    one["name"]: one["schema"]
                    for one in operation["parameters"]
                    if one.get("in") == "query"
                },
            )
