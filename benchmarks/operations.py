"""The operations that are measured, as the requests that each client sends."""

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPMessage, HTTPResponse
from random import Random
from typing import Any

from benchmarks import dataset

API = "/api/v1"
SORTS = ("created_at", "-created_at", "priority", "-priority")
# 50 on average. Together with the sort, the filter and the cursor they make each list another one.
LIMITS = range(36, 65)
# How many lists or tasks a client with ETags asks for again and again.
KNOWN = 40


@dataclass(frozen=True)
class Request:
    """An HTTP request."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, token: str | None = None) -> bytes:
        """Return the bytes to send."""
        payload = b"" if self.body is None else json.dumps(self.body).encode()
        headers = {"Host": "127.0.0.1", "User-Agent": "bench", "Accept": "application/json"}
        headers |= self.headers
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if payload:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(payload))}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        start = f"{self.method} {self.path} HTTP/1.1"
        return "\r\n".join([start, *lines, "", ""]).encode() + payload


@dataclass(frozen=True)
class Response:
    """A response with its parsed body."""

    status: int
    headers: HTTPMessage
    body: Any


@dataclass
class User:
    """A user of one server; ``token`` is set by ``log_in``."""

    port: int
    id: int
    tasks: range
    token: str | None = None
    _pages: dict[str, list[str]] = field(default_factory=dict)

    def log_in(self) -> None:
        """Get a new access token."""
        self.token = self.send(_log_in(self)[0], authenticated=False).body["access_token"]

    def send(self, request: Request, *, authenticated: bool = True) -> Response:
        """Send a request. Raises SystemExit if it fails."""
        response = exchange(self.port, request.encode(self.token if authenticated else None))
        if response.status >= 400:
            raise SystemExit(f"{request.method} {request.path}: {response.status} {response.body}")
        return response

    @property
    def read_tasks(self) -> list[int]:
        """The half of the tasks that is only read, in random order."""
        return self._shuffled(self.tasks[: len(self.tasks) // 2])

    @property
    def changed_tasks(self) -> list[int]:
        """The half of the tasks that is changed, in random order."""
        return self._shuffled(self.tasks[len(self.tasks) // 2 :])

    def lists(self, queries: Iterable[str]) -> list[str]:
        """Return the paths of many lists, each another one, that all have a full page."""
        return self._shuffled(
            f"{path}&limit={limit}"
            for query in queries
            for path in self._paths(query)
            for limit in LIMITS
        )

    def _paths(self, query: str) -> list[str]:
        """Return the paths of the pages of a list that at least 100 more tasks follow."""
        if query not in self._pages:
            path = f"{API}/tasks?{query}"
            self._pages[query] = []
            body = self.send(Request("GET", f"{path}&limit=100")).body
            cursor = ""
            while body["next_cursor"] is not None:
                self._pages[query].append(f"{path}{cursor}")
                cursor = f"&cursor={body['next_cursor']}"
                body = self.send(Request("GET", f"{path}{cursor}&limit=100")).body
        return self._pages[query]

    def _shuffled(self, items: Iterable[Any]) -> list[Any]:
        shuffled = list(items)
        Random(self.id).shuffle(shuffled)
        return shuffled


@dataclass(frozen=True)
class Operation:
    """An operation: the requests of a client in one round, and whether a response is right."""

    status: int
    requests: Callable[[User, int], list[Request]]
    is_right: Callable[[Any], bool]
    only_ours: bool = False
    authenticated: bool = True


def _log_in(user: User, _round: int = 0) -> list[Request]:
    credentials = {"username": f"user{user.id}", "password": dataset.PASSWORD}
    return [Request("POST", f"{API}/auth/login", credentials)]


def _list(user: User, _round: int) -> list[Request]:
    return [Request("GET", path) for path in user.lists(f"sort={sort}" for sort in SORTS)]


def _filtered_list(user: User, _round: int) -> list[Request]:
    queries = (f"status={status}&sort={sort}" for status in dataset.STATUSES for sort in SORTS)
    return [Request("GET", path) for path in user.lists(queries)]


def _search(user: User, _round: int) -> list[Request]:
    queries = [f"q={name}&limit={limit}" for name in dataset.NAMES for limit in range(48, 53)]
    Random(user.id).shuffle(queries)
    return [Request("GET", f"{API}/tasks?{query}") for query in queries]


def _get(user: User, _round: int) -> list[Request]:
    return [Request("GET", f"{API}/tasks/{task_id}") for task_id in user.read_tasks]


def _unchanged(
    requests: Callable[[User, int], list[Request]],
) -> Callable[[User, int], list[Request]]:
    """Return a function that makes some of the same requests with the current ETags."""

    def conditional_requests(user: User, number: int) -> list[Request]:
        known = requests(user, number)[:KNOWN]
        etags = [user.send(request).headers["ETag"] for request in known]
        return [
            Request("GET", request.path, headers={"If-None-Match": etag})
            for request, etag in zip(known, etags, strict=True)
        ]

    return conditional_requests


def _patch(user: User, number: int) -> list[Request]:
    # Two titles for each task, so that a second pass through the requests changes it again.
    return [
        Request("PATCH", f"{API}/tasks/{task_id}", {"title": f"Changed in round {number} {turn}"})
        for turn in ("once", "twice")
        for task_id in user.changed_tasks
    ]


def _create(_user: User, number: int) -> list[Request]:
    body = {"priority": "high", "due_date": "2030-01-31", "time_zone": "UTC"}
    return [
        Request("POST", f"{API}/tasks", {"title": f"Task {turn} of round {number}", **body})
        for turn in range(200)
    ]


def _is_page(body: Any) -> bool:
    return LIMITS.start <= len(body["data"]) < LIMITS.stop


def _is_task(body: Any) -> bool:
    return "id" in body


# Reads come first: a server that creates more tasks would have more to read afterwards.
OPERATIONS: Mapping[str, Operation] = {
    "list": Operation(200, _list, _is_page),
    "filtered list": Operation(200, _filtered_list, _is_page),
    "list unchanged": Operation(304, _unchanged(_list), lambda body: body is None, only_ours=True),
    "search": Operation(200, _search, lambda body: isinstance(body["data"], list)),
    "get": Operation(200, _get, _is_task),
    "get unchanged": Operation(304, _unchanged(_get), lambda body: body is None, only_ours=True),
    "login": Operation(200, _log_in, lambda body: "access_token" in body, authenticated=False),
    "patch": Operation(200, _patch, _is_task),
    "create": Operation(201, _create, _is_task),
}
HELLO = Operation(
    200,
    lambda _user, _round: [Request("GET", "/")],
    lambda body: body == {"message": "hello"},
    authenticated=False,
)


def exchange(port: int, data: bytes) -> Response:
    """Send the bytes of a request on a new connection and return the response."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        connection.sendall(data)
        response = HTTPResponse(connection)
        response.begin()
        text = response.read()
        is_json = response.headers.get_content_type().endswith("json")
        body = json.loads(text) if is_json and text else text.decode() or None
        return Response(response.status, response.headers, body)


def check(server: str, name: str, operation: Operation, port: int, data: bytes) -> None:
    """Send a request. Raises SystemExit if the response is not what the operation expects."""
    response = exchange(port, data)
    if response.status != operation.status or not operation.is_right(response.body):
        shown = json.dumps(response.body)[:2000]
        raise SystemExit(f"{server}, {name}: unexpected response {response.status} {shown}")
