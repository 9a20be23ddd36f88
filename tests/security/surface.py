"""What may be sent to the service, read from its document, so that no route is left out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from app.http.openapi import Document, build
from tests.accounts import Account

JSON = "application/json"
FORM = "multipart/form-data"


@dataclass(frozen=True)
class Operation:
    """One call: where it goes, and what it takes."""

    account: Account
    name: str
    method: str
    path: str
    public: bool
    refreshes: bool
    body: dict[str, Any] | None
    fields: dict[str, Document]
    query: dict[str, Document]

    def call(self, **sent: Any) -> TestResponse:
        """Make the call with a token that may; ``path`` is another than its own."""
        account, headers = self.account, dict(sent.pop("headers", {}))
        if not self.public:
            token = account.refresh_token if self.refreshes else account.access_token
            headers["Authorization"] = f"Bearer {token}"
        path = sent.pop("path", self.path)
        return account.client.open(path, method=self.method, headers=headers, **sent)

    def send(self, raw: bytes | str, content_type: str | None = JSON) -> TestResponse:
        """Make the call with these bytes as its body."""
        return self.call(data=raw, content_type=content_type)

    @property
    def row_id(self) -> str | None:
        """The number of the row that its path names, if it names one."""
        return next(filter(str.isdecimal, self.path.split("/")), None)

    def path_with(self, other: int | str) -> str:
        """Return the path with something else in that number's place."""
        return self.path.replace(f"/{self.row_id}", f"/{other}")


def kinds(schema: Document) -> set[str]:
    """Return the types that a schema takes."""
    told = schema.get("type", [])
    return {told} if isinstance(told, str) else set(told)


def operations(account: Account) -> Iterator[Operation]:
    """Yield every operation of the document; ids in paths are of rows that are there."""
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
        for method, told in methods.items():
            if method == "parameters":
                continue
            taken = told.get("requestBody", {}).get("content", {})
            # A file is judged when it is imported: tests/jobs has what becomes of it.
            content = {} if FORM in taken else taken.get(JSON, {})
            reference = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            schema = document["components"]["schemas"].get(reference, {})
            schemes = [name for one in told["security"] for name in one]
            yield Operation(
                account=account,
                name=told["operationId"],
                method=method.upper(),
                path=path.format(**ids),
                public=not schemes,
                refreshes=schemes == ["refreshToken"],
                body=content.get("example"),
                fields=schema.get("properties", {}),
                query={
                    one["name"]: one["schema"]
                    for one in told["parameters"]
                    if one.get("in") == "query"
                },
            )
