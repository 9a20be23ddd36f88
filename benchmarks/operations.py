"""What is measured: the requests of each operation, written as they go over the wire."""

import json
import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http.client import HTTPResponse
from typing import Any

import data

API = "/api/v1"
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Sent:
    """One request of a client's."""

    method: str
    path: str
    body: Body | None = None
    headers: Mapping[str, str] | None = None

    def raw(self, token: str | None) -> bytes:
        """Return the request as it goes over the wire."""
        payload = b"" if self.body is None else json.dumps(self.body).encode()
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: bench"]
        lines += ["Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in (self.headers or {}).items()]
        if token is not None:
            lines += [f"Authorization: Bearer {token}"]
        if payload:
            lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
        return "\r\n".join([*lines, "", ""]).encode() + payload


@dataclass(frozen=True)
class Caller:
    """One client: an account of its own, and the ids of its tasks."""

    port: int
    user_id: int
    tasks: range
    token: str | None = None

    @property
    def read(self) -> Sequence[int]:
        """The tasks that are only read, strewn over the table."""
        return random.Random(self.user_id).sample(self.tasks[: len(self.tasks) // 2], 50)

    @property
    def changed(self) -> Sequence[int]:
        """The tasks that are changed."""
        return random.Random(self.user_id).sample(self.tasks[len(self.tasks) // 2 :], 50)


@dataclass(frozen=True)
class Operation:
    """One thing that clients do, over and over; ``check`` tells whether an answer is right."""

    status: int
    requests: Callable[[Caller, int], Iterator[Sent]]
    check: Callable[[Any], bool]
    only: tuple[str, ...] = ()
    needs_token: bool = True


def _log_in(caller: Caller, _round: int) -> Iterator[Sent]:
    name = data.usernames(caller.user_id)[-1]
    yield Sent("POST", f"{API}/auth/login", {"username": name, "password": data.PASSWORD})


def _list(query: str) -> Callable[[Caller, int], Iterator[Sent]]:
    def requests(_caller: Caller, _round: int) -> Iterator[Sent]:
        yield Sent("GET", f"{API}/tasks?{query}")

    return requests


def _get(caller: Caller, _round: int) -> Iterator[Sent]:
    for task_id in caller.read:
        yield Sent("GET", f"{API}/tasks/{task_id}")


def _get_unchanged(caller: Caller, _round: int) -> Iterator[Sent]:
    for sent in _get(caller, _round):
        _, headers, _ = exchange(caller.port, sent.raw(caller.token))
        yield Sent("GET", sent.path, headers={"If-None-Match": headers["ETag"]})


def _search(caller: Caller, _round: int) -> Iterator[Sent]:
    for name in random.Random(caller.user_id).sample(data.NAMES, 50):
        yield Sent("GET", f"{API}/tasks?q={name}&limit=50")


def _create(caller: Caller, number: int) -> Iterator[Sent]:
    for turn in range(50):
        title = f"Created by {caller.user_id} in round {number}, {turn}"
        yield Sent(
            "POST",
            f"{API}/tasks",
            {"title": title, "priority": "high", "due_date": "2030-01-31", "time_zone": "UTC"},
        )


def _patch(caller: Caller, number: int) -> Iterator[Sent]:
    """Change each task twice, so that going through them again changes them again."""
    for turn in ("first", "second"):
        for task_id in caller.changed:
            title = f"Changed in round {number} for the {turn} time"
            yield Sent("PATCH", f"{API}/tasks/{task_id}", {"title": title})


def _of_page(body: Any) -> bool:
    return len(body["data"]) == 50


def _of_task(body: Any) -> bool:
    return "id" in body


# Reads come first: what is created meanwhile would make later ones dearer for who creates more.
OPERATIONS: Mapping[str, Operation] = {
    "list": Operation(200, _list("limit=50"), _of_page),
    "filtered list": Operation(200, _list("status=pending&sort=-priority&limit=50"), _of_page),
    "get": Operation(200, _get, _of_task),
    "get unchanged": Operation(
        304, _get_unchanged, lambda body: body is None, only=("ours", "hello")
    ),
    "search": Operation(200, _search, lambda body: isinstance(body["data"], list)),
    "login": Operation(200, _log_in, lambda body: "access_token" in body, needs_token=False),
    "patch": Operation(200, _patch, _of_task),
    "create": Operation(201, _create, _of_task),
}
HELLO = Operation(
    200,
    lambda _caller, _round: iter([Sent("GET", "/")]),
    lambda body: body == {"message": "hello"},
    needs_token=False,
)


def exchange(port: int, raw: bytes) -> tuple[int, Mapping[str, str], Any]:
    """Send one request and return the status, the headers and the parsed body of its answer."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        connection.sendall(raw)
        response = HTTPResponse(connection)
        response.begin()
        text = response.read()
        is_json = response.headers.get_content_type().endswith("json")
        body = json.loads(text) if is_json and text else text.decode() or None
        return response.status, response.headers, body


def require_right(server: str, name: str, operation: Operation, port: int, raw: bytes) -> Any:
    """Return the body of the answer to a request. Raises SystemExit with one that is wrong."""
    status, _, body = exchange(port, raw)
    if status != operation.status or not operation.check(body):
        raise SystemExit(f"{server} answered {name} wrongly: {status} {json.dumps(body)[:2000]}")
    return body


def logged_in(server: str, caller: Caller) -> Caller:
    """Return a client with a token of the server's. Raises SystemExit where it gives none."""
    login = OPERATIONS["login"]
    raw = next(login.requests(caller, 0)).raw(None)
    told = require_right(server, "login", login, caller.port, raw)
    return replace(caller, token=told["access_token"])
