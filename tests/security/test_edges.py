"""The started server's edges: what never reaches the application, slow clients, shared limits."""

import json
import os
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from app.http.headers import SECURITY
from benchmarks.server import Client, started
from tests.redis import needs_redis, redis

POSTGRES = os.environ.get("TEST_DATABASE_URL")
GET = "GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\n"
POST = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PASSWORD = "correct horse battery"


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    # As little as possible is taken by the kernel in the client's place.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connection


def exchange(server, raw):
    """Send bytes, and return the status, the headers and the body of the one answer."""
    with connect(server) as connection:
        connection.sendall(raw.encode("latin-1"))
        answer = b""
        while more := connection.recv(65536):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return int(line.split(" ")[1]), headers, json.loads(body)


def wait_for(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


class TestRefusals:
    """What gunicorn refuses by itself is a problem too."""

    @pytest.fixture(scope="class")
    @staticmethod
    def server():
        with started(POSTGRES) as running:
            yield running

    @pytest.mark.parametrize(
        ("raw", "status"),
        [
            ("G\0T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
            ("GET  HTTP/1.1\r\n\r\n", 400),
            (f"{GET}Na me: x\r\n\r\n", 400),
            (f"{GET}Host: y\r\n\r\n", 400),
            (f"{POST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (f"{POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", 400),
            (f"{POST}Content-Length: -1\r\n\r\n", 400),
            (f"{POST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
            (f"{POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
            (f"{POST}Transfer-Encoding: nonsense\r\n\r\n", 501),
            (f"GET /{'x' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
            (f"{GET}Expect: miracles\r\n\r\n", 417),
            (f"{GET}X: {'y' * 9000}\r\n\r\n", 431),
            (GET + "X: y\r\n" * 200 + "\r\n", 431),
        ],
    )
    def test_h1_h9_is_a_problem_with_the_real_status(self, server, raw, status):
        found, headers, body = exchange(server, raw)
        assert (found, body["status"], body["code"]) == (status, status, "bad_request")
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["Connection"] == "close"
        assert headers.items() >= SECURITY.items()
        assert body["request_id"] == headers["X-Request-ID"]
        assert body["type"] == f"http://127.0.0.1:{server.port}/problems/bad_request"

    @pytest.mark.parametrize("coding", ["gzip, chunked", "gzip,chunked", "deflate, chunked"])
    def test_h9_a_body_in_a_coding_that_nobody_undoes_is_a_bad_request(self, server, coding):
        raw = f"{POST}Transfer-Encoding: {coding}\r\nConnection: close\r\n\r\n0\r\n\r\n"
        status, _, body = exchange(server, raw)
        assert (status, body["code"]) == (400, "bad_request")

    @pytest.mark.parametrize("line", ["", "X-Forwarded-Host: evil.example\r\n"])
    def test_s3_no_answer_tells_a_version(self, server, line):
        for raw in (f"{GET}{line}Connection: close\r\n\r\n", f"{GET}bad header\r\n\r\n"):
            _, headers, body = exchange(server, raw)
            assert not any(sign.isdigit() for sign in headers.get("Server", ""))
            assert "evil.example" not in f"{headers}{body}"

    def test_s3_there_is_no_control_socket(self, server):
        listed = Path("/proc/net/unix").read_text().splitlines()[1:]
        # The eighth field is the path, which sockets of no name lack.
        named = {fields[6] for fields in map(str.split, listed) if len(fields) > 7}
        files = Path(f"/proc/{server.process.pid}/fd").iterdir()
        open_sockets = {str(file.readlink()).removeprefix("socket:[")[:-1] for file in files}
        assert named & open_sockets == set()


class TestSlowClients:
    """They wait for themselves alone, and not for ever."""

    SECONDS = 4
    EACH = 40
    BEGUN = {
        "nothing": "",
        "no farewell": f"{GET}Connection: close\r\n\r\n",
        "headers": f"{GET}X-Slow: ",
        "body": f"{POST}Content-Length: 5000\r\n\r\n[",
        "too long a body": f"{POST}Content-Length: 5000000\r\n\r\n[",
        "chunks": f"{POST}Transfer-Encoding: chunked\r\n\r\n1388\r\n[",
        "answer": "GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\n\r\n",
    }

    @pytest.fixture(scope="class")
    @staticmethod
    def server():
        # Far fewer threads than there are slow clients of any kind.
        settings = {"THREADS": "4", "WEB_CONCURRENCY": "1"}
        with started(POSTGRES, CLIENT_TIMEOUT=str(TestSlowClients.SECONDS), **settings) as running:
            with Client(running.port) as client:
                account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
                client.call("POST", "/auth/register", account)
                client.log_in("ada", PASSWORD)
                for number in range(40):
                    task = {"title": f"Task {number}", "description": "x" * 20_000}
                    assert client.call("POST", "/tasks", task)[0] == 201
                running.token = client.headers["Authorization"]
            yield running

    @contextmanager
    def slow(self, server, kind, count):
        """Open connections that have sent something, and wait."""
        with ExitStack() as stack:
            connections = [stack.enter_context(connect(server)) for _ in range(count)]
            for connection in connections:
                connection.sendall(self.BEGUN[kind].replace("TOKEN", server.token).encode())
            yield connections

    def test_e1_others_are_served_meanwhile(self, server):
        with ExitStack() as stack:
            trickling = [
                connection
                for kind in self.BEGUN
                for connection in stack.enter_context(self.slow(server, kind, self.EACH))
                if kind not in {"nothing", "no farewell", "answer"}
            ]
            until = time.monotonic() + self.SECONDS - 1
            while time.monotonic() < until:
                begun = time.monotonic()
                with Client(server.port) as client:
                    client.headers["Authorization"] = server.token
                    assert client.call("GET", "/auth/me")[0] == 200
                assert time.monotonic() - begun < 3
                for connection in trickling:
                    with suppress(OSError):
                        connection.sendall(b"x")
                time.sleep(0.2)

    @pytest.mark.parametrize("kind", ["headers", "body", "too long a body", "chunks"])
    def test_whoever_trickles_is_cut_off(self, server, kind):
        begun = time.monotonic()
        with self.slow(server, kind, 1) as [connection]:
            connection.settimeout(0.2)
            ended = False
            while not ended:
                assert time.monotonic() - begun < self.SECONDS + 4
                with suppress(ConnectionError):
                    connection.sendall(b" ")
                try:
                    ended = connection.recv(65536) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    ended = True
        assert time.monotonic() - begun >= self.SECONDS - 1

    def test_whoever_does_not_read_is_cut_off_and_nothing_is_made_of_it_in_the_log(self, server):
        # More answers than the kernels of both sides hold.
        many = self.BEGUN["answer"].replace("TOKEN", server.token) * 30
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(many.encode())
            time.sleep(self.SECONDS + 2)
            taken = 0
            with suppress(OSError):
                while more := connection.recv(1 << 20):
                    taken += len(more)
        assert 0 < taken < 30 * 800_000
        assert "Traceback" not in server.log.read_text()


@needs_redis
class TestSharedLimits:
    """With Redis, all workers count as one."""

    LIMITS = {"RATELIMIT_ENABLED": "1", "WEB_CONCURRENCY": "4", "RATE_LIMIT_LOGIN": "7 per minute"}

    def log_ins(self, server, count):
        """Try to log in on so many new connections at once, and count how it was answered."""

        def log_in(number):
            with Client(server.port) as client:
                body = {"username": f"nobody{number}", "password": "wrong, but long"}
                return client.call("POST", "/auth/login", body)[0]

        with ThreadPoolExecutor(8) as pool:
            return Counter(pool.map(log_in, range(count)))

    def test_r1_exactly_as_many_logins_are_answered_as_may_be(self):
        with redis() as counts, started(POSTGRES, REDIS_URL=counts.url, **self.LIMITS) as server:
            wait_for(lambda: len(server.workers()) == 4)
            assert self.log_ins(server, 20) == {401: 7, 429: 13}

    def test_f4_without_redis_each_worker_counts_and_says_so_once(self):
        with redis() as counts, started(POSTGRES, REDIS_URL=counts.url, **self.LIMITS) as server:
            with counts.frozen():
                begun = time.monotonic()
                answered = self.log_ins(server, 40)
                assert time.monotonic() - begun < 15
                assert set(answered) == {401, 429}
                assert 7 <= answered[401] <= 4 * 7
            counts.stop()
            with Client(server.port) as client:
                assert client.call("GET", "/auth/me")[0] == 401
            said = server.log.read_text().count("Redis fails; each process limits rates by its own")
            assert 1 <= said <= 4
            counts.start()

            def is_back():
                with Client(server.port) as client:
                    assert client.call("GET", "/auth/me")[0] == 401
                return "Redis answers again" in server.log.read_text()

            wait_for(is_back)


@pytest.mark.parametrize(
    ("settings", "workers"),
    [
        ({"RATELIMIT_ENABLED": "1"}, 1),
        ({"RATELIMIT_ENABLED": "0"}, 3),
        ({"RATELIMIT_ENABLED": "1", "REDIS_URL": "redis://127.0.0.1:1"}, 3),
    ],
)
def test_one_worker_serves_where_workers_would_not_share_counts(settings, workers):
    with started(POSTGRES, WEB_CONCURRENCY="3", **settings) as server:
        wait_for(lambda: len(server.workers()) == workers)
        why = (
            "Serving with 1 worker instead of 3: without REDIS_URL, workers don't share the counts"
        )
        assert (why in server.log.read_text()) == (workers == 1)


@pytest.mark.parametrize(("trusted", "address"), [("0", "127.0.0.1"), ("1", "203.0.113.7")])
def test_r2_an_address_is_believed_from_as_many_proxies_as_are_trusted(trusted, address):
    with started(POSTGRES, TRUSTED_PROXIES=trusted) as server, Client(server.port) as client:
        client.call(
            "POST",
            "/auth/register",
            {"username": "ada", "email": "ada@example.com", "password": PASSWORD},
        )
        client.headers |= {
            "X-Forwarded-For": "198.51.100.1, 203.0.113.7",
            "Forwarded": "for=198.51.100.2",
            "X-Real-IP": "198.51.100.3",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
        }
        client.log_in("ada", PASSWORD)
        [session] = client.call("GET", "/auth/sessions")[1]["data"]
        assert session["ip_address"] == address
        client.connection.request("GET", "/api/v1/nothing", headers=client.headers)
        answer = client.connection.getresponse()
        problem = json.loads(answer.read())
        assert ("Strict-Transport-Security" in answer.headers) == (trusted == "1")
        assert problem["type"] == f"http://127.0.0.1:{server.port}/problems/not_found"
