"""The started server: malformed HTTP, and rate limits shared by workers."""

import json
import os
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.server import Client, started
from tests.redis import needs_redis, redis

POSTGRES = os.environ.get("TEST_DATABASE_URL")
GET = "GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\n"
POST = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PASSWORD = "correct horse battery"


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    # A small buffer, so that the kernel reads little before the client does.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connection


def exchange(server, raw):
    """Send raw bytes, and return the status, the headers and the body of the response."""
    with connect(server) as connection:
        connection.sendall(raw.encode("latin-1"))
        response = b""
        while more := connection.recv(65536):
            response += more
    head, _, body = response.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return int(line.split(" ")[1]), headers, body.decode()


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


class TestMalformedRequests:
    """gunicorn rejects them itself; behind nginx the response is a problem (tests/deploy)."""

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
            (GET + "X: y\r\n" * 5000 + "\r\n", 431),
        ],
    )
    def test_h9_malformed_request_is_rejected(self, server, raw, status):
        # ``exchange`` reads until the server closes the connection.
        assert exchange(server, raw)[0] == status

    @pytest.mark.parametrize("coding", ["gzip, chunked", "gzip,chunked", "deflate, chunked"])
    def test_h9_unsupported_transfer_coding_is_a_bad_request(self, server, coding):
        raw = f"{POST}Transfer-Encoding: {coding}\r\nConnection: close\r\n\r\n0\r\n\r\n"
        status, _, body = exchange(server, raw)
        assert (status, json.loads(body)["code"]) == (400, "bad_request")

    @pytest.mark.parametrize("line", ["", "X-Forwarded-Host: evil.example\r\n"])
    def test_s3_no_response_has_a_version(self, server, line):
        for raw in (f"{GET}{line}Connection: close\r\n\r\n", f"{GET}bad header\r\n\r\n"):
            _, headers, body = exchange(server, raw)
            assert not any(sign.isdigit() for sign in headers.get("Server", ""))
            assert "evil.example" not in f"{headers}{body}"

    def test_s3_control_socket_is_off(self, server):
        listed = Path("/proc/net/unix").read_text().splitlines()[1:]
        # The eighth field is the path, which unnamed sockets lack.
        named = {fields[6] for fields in map(str.split, listed) if len(fields) > 7}
        files = Path(f"/proc/{server.process.pid}/fd").iterdir()
        open_sockets = {str(file.readlink()).removeprefix("socket:[")[:-1] for file in files}
        assert named & open_sockets == set()


@needs_redis
class TestSharedLimits:
    """Workers share the counters in Redis."""

    LIMITS = {"RATELIMIT_ENABLED": "1", "WEB_CONCURRENCY": "4", "RATE_LIMIT_LOGIN": "7 per minute"}

    def log_ins(self, server, count):
        """Log in on ``count`` new connections in parallel, and count the statuses."""

        def log_in(number):
            with Client(server.port) as client:
                body = {"username": f"nobody{number}", "password": "wrong, but long"}
                return client.call("POST", "/auth/login", body)[0]

        with ThreadPoolExecutor(8) as pool:
            return Counter(pool.map(log_in, range(count)))

    def test_r1_workers_share_the_login_limit(self):
        with redis() as counts, started(POSTGRES, REDIS_URL=counts.url, **self.LIMITS) as server:
            wait_for(lambda: len(server.workers()) == 4)
            assert self.log_ins(server, 20) == {401: 7, 429: 13}

    def test_f4_workers_count_alone_while_redis_is_down_and_log_it_once(self):
        with redis() as counts, started(POSTGRES, REDIS_URL=counts.url, **self.LIMITS) as server:
            with counts.frozen():
                started_at = time.monotonic()
                statuses = self.log_ins(server, 40)
                assert time.monotonic() - started_at < 15
                assert set(statuses) == {401, 429}
                assert 7 <= statuses[401] <= 4 * 7
            counts.stop()
            with Client(server.port) as client:
                assert client.call("GET", "/auth/me")[0] == 401
            message = "Redis failed; each process counts rate limits in memory"
            assert 1 <= server.log.read_text().count(message) <= 4
            counts.start()

            def is_back():
                with Client(server.port) as client:
                    assert client.call("GET", "/auth/me")[0] == 401
                return "Redis works again" in server.log.read_text()

            wait_for(is_back)


@pytest.mark.parametrize(
    ("settings", "workers"),
    [
        ({"RATELIMIT_ENABLED": "1"}, 1),
        ({"RATELIMIT_ENABLED": "0"}, 3),
        ({"RATELIMIT_ENABLED": "1", "REDIS_URL": "redis://127.0.0.1:1"}, 3),
    ],
)
def test_one_worker_runs_if_counters_are_not_shared(settings, workers):
    with started(POSTGRES, WEB_CONCURRENCY="3", **settings) as server:
        wait_for(lambda: len(server.workers()) == workers)
        message = (
            "Starting 1 worker instead of 3: without REDIS_URL, workers do not share rate limit"
        )
        assert (message in server.log.read_text()) == (workers == 1)


@pytest.mark.parametrize(("trusted", "address"), [("0", "127.0.0.1"), ("1", "203.0.113.7")])
def test_r2_address_comes_from_trusted_proxies_only(trusted, address):
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
        response = client.connection.getresponse()
        problem = json.loads(response.read())
        assert ("Strict-Transport-Security" in response.headers) == (trusted == "1")
        assert problem["type"] == f"http://127.0.0.1:{server.port}/problems/not_found"
