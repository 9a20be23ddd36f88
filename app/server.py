"""gunicorn's worker of threads, made to bear slow clients and to refuse in our own words."""

import resource
import select
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from queue import SimpleQueue
from socket import MSG_DONTWAIT, socket
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

import orjson
from flask import Flask
from gunicorn import http, util
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import ThreadWorker

from app.errors import BadRequest, InternalError, Problem
from app.floor import floor
from app.http.body import BLOCK, UPLOADS, discard
from app.http.envelope import new_id
from app.http.headers import SECURITY

# Each connection has a file, one more while it is waited for, and there are those of the worker.
FILES = 4096
# So many milliseconds a thread stays with a connection for its next request, which mostly comes at
# once: to hand it back and take it up again costs more than most answers.
LINGER = 50
# An answer goes out in pieces of about this size; most are one.
PIECE = 64 * 1024
# What is longer waits in a file.
KEPT_IN_MEMORY = 1024 * 1024 + 1


class Head(Request):
    """The head of a request, in which no peer is believed about anything but itself.

    ``forwarded_allow_ips`` says so too; there its address is read for each request, and compared
    with none.
    """

    def _peer_is_trusted_proxy(self) -> bool:
        return False


class Unreader(SocketUnreader):
    """Reads a request, which must be whole before its deadline, and has the floor once it comes."""

    deadline = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise NoMoreData
        try:
            data: bytes = self.sock.recv(self.mxchunk, MSG_DONTWAIT)
        except BlockingIOError:  # mostly it is there
            floor.leave()
            data = self._awaited(left, size_hint)
        floor.take()
        return data

    def _awaited(self, left: float, size_hint: int | None) -> bytes:
        bound = self.sock.gettimeout()
        self.sock.settimeout(left if bound is None else min(bound, left))
        try:
            return super().chunk(size_hint)  # type: ignore[no-any-return]
        except TimeoutError:
            raise NoMoreData from None


class Answer:
    """A client's socket that an answer is written to: its head and its body go out together.

    ``unread`` is the body of the request, where more of it may come than was read.
    """

    def __init__(self, client: socket, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._written = bytearray()
        self.unread: IO[bytes] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def sendall(self, data: bytes) -> None:
        self._written += data
        if len(self._written) >= PIECE:
            self.flush()

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        self.flush()
        floor.leave()
        self._client.settimeout(self._patience)
        return self._client.sendfile(*args, **kwargs)

    def flush(self) -> None:
        """Send what was written. Raises TimeoutError where the client does not take it."""
        data, self._written = self._written, bytearray()
        sent = 0
        with suppress(BlockingIOError):  # mostly there is room
            sent = self._client.send(data, MSG_DONTWAIT)
        if sent < len(data):
            floor.leave()
            self._client.settimeout(self._patience)
            self._client.sendall(memoryview(data)[sent:])


class Asked(NamedTuple):
    """A connection, as far as one request goes."""

    sock: Answer
    client: Any
    server: Any


class Worker(ThreadWorker):
    """Lets slow clients wait for themselves alone.

    Each connection that is not idle has a thread. One at a time has the floor, from the first bytes
    of its request to the last of its answer, and leaves it wherever it waits for its client. Only
    THREADS of them are in the application at once, with a request that has come whole, and leave it
    before the answer is sent. Whoever takes longer than CLIENT_TIMEOUT to send a request or to read
    its answer is cut off.
    """

    wsgi: Any

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.cfg.worker_connections)

    def init_process(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # Each look at a setting is three calls, and a request looks some thirty times.
        for name, kept in self.cfg.settings.items():
            self.cfg.__dict__[name] = kept.get()
        self.application: Flask = self.wsgi
        self.patience: int = self.application.config["CLIENT_TIMEOUT"]
        self.longest: int = self.application.config["MAX_CONTENT_LENGTH"]
        self.longest_upload: int = self.application.config["MAX_UPLOAD_LENGTH"]
        self.turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(self.cfg.threads):
            self.turns.put(None)
        self.wsgi = self.serve

    def serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Have the application answer a body that was read before; what is too much goes after."""
        body = environ["wsgi.input"]
        told = int(environ.get("CONTENT_LENGTH") or 0)
        if "HTTP_TRANSFER_ENCODING" not in environ and told < min(KEPT_IN_MEMORY, self.longest):
            environ["wsgi.input"] = BytesIO(body.read(told))
            return self._answer(environ, start_response)
        is_upload = environ["PATH_INFO"].rstrip("/") == UPLOADS
        longest = self.longest_upload if is_upload else self.longest
        with SpooledTemporaryFile(KEPT_IN_MEMORY) as read:
            if told <= longest:
                _copy(body, read, longest + 1)
            environ["wsgi.input"] = read
            environ["gunicorn.socket"].unread = body
            return self._answer(environ, start_response)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.turns.get()
        try:
            answer: Iterable[bytes] = self.application(environ, start_response)
        finally:
            self.turns.put(None)
        return answer

    def handle(self, conn: Any) -> Any:
        if conn.parser is None:
            conn.parser = http.get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = Unreader(conn.sock)
            conn.parser.mesg_class = Head
        kept = self._handle_one(conn)
        while kept is True and self.alive and _goes_on(conn):
            kept = self._handle_one(conn)
        if not kept:
            # Here, for it may take a while, and the thread that gunicorn does it in also accepts.
            util.close_graceful(conn.sock)
            conn.close = _is_closed
        return kept

    def _handle_one(self, conn: Any) -> Any:
        conn.parser.unreader.deadline = time.monotonic() + self.patience
        try:
            return super().handle(conn)
        finally:
            floor.leave()

    def handle_request(self, req: Any, conn: Any) -> bool:
        floor.take()  # unless it came with the bytes of this request, and not with those before
        answer = Answer(conn.sock, self.patience)
        try:
            kept: bool = super().handle_request(req, Asked(answer, conn.client, conn.server))
            answer.flush()
        except TimeoutError:
            self.log.debug("A client did not read its answer.")
            return False
        if answer.unread is not None:
            # A client that is still sending would be cut off before it has read the answer.
            discard(answer.unread)
        return kept

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Log a request that never reached the application, and refuse it with a problem."""
        refusal = _Refusal()
        super().handle_error(req, refusal, addr, exc)
        with self.application.app_context():
            answer = _problem(refusal.status)
        try:
            util.write_nonblock(client, answer)
        except OSError:
            self.log.debug("A client did not wait for its refusal.")


def _copy(body: IO[bytes], file: IO[bytes], most: int) -> None:
    """Copy a body as far as ``most`` bytes, and go back to the beginning of the copy."""
    while most > 0 and (block := body.read(min(BLOCK, most))):
        most -= file.write(block)
    file.seek(0)


def _goes_on(conn: Any) -> bool:
    """Tell whether the next request is there, or comes within LINGER."""
    if conn.parser.unreader.buf.getvalue():
        return True
    poller = select.poll()
    poller.register(conn.sock, select.POLLIN)
    return bool(poller.poll(LINGER))


def _is_closed(*, graceful: bool = False) -> None:
    """Close a connection that is closed."""


class _Refusal:
    """Stands in for a socket, and takes from what gunicorn would answer the status alone."""

    status = HTTPStatus.BAD_REQUEST

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, answer: bytes) -> None:
        self.status = HTTPStatus(int(answer.split(b" ", 2)[1]))


def _problem(status: HTTPStatus) -> bytes:
    detail = f"The server can't take this request: {status.phrase}."
    server_fault = status == HTTPStatus.INTERNAL_SERVER_ERROR
    problem: Problem = InternalError() if server_fault else BadRequest(detail)
    request_id = new_id()
    body = orjson.dumps(problem.body() | {"status": status, "request_id": request_id})
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": len(body),
        "Connection": "close",
        "X-Request-ID": request_id,
        **SECURITY,
    }
    lines = (f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {status.phrase}\r\n{''.join(lines)}\r\n".encode() + body
