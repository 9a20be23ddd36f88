"""nginx with the configuration of deploy/nginx, in front of two API processes."""

import gzip
import re
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from app.config import Config
from app.errors import all_problems
from tests.deploy.gateway import (
    NAME,
    NGINX,
    Gateway,
    HTTPSConnectionTo,
    deployed,
    needs_nginx,
    send,
)
from tests.waiting import wait_for

pytestmark = needs_nginx

PASSWORD = "correct horse battery"
PROBLEM_HEADERS = {
    "Content-Type": "application/problem+json",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@pytest.fixture(scope="module")
def deployment():
    with deployed() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(deployment):
    return deployment.gateway


@pytest.fixture(scope="module")
def tokens(gateway):
    """Tokens of a new user."""
    return create_user(gateway)


@pytest.fixture
def bearer(tokens):
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def create_user(gateway, prefix=""):
    name = f"ada-{uuid4().hex[:8]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    assert gateway.call("POST", f"{prefix}/api/v1/auth/register", account).status == 201
    credentials = {"username": name, "password": PASSWORD}
    login = gateway.call("POST", f"{prefix}/api/v1/auth/login", credentials)
    assert login.status == 200
    return login.json


def assert_nginx_problem(response, status, code, path):
    """Assert that an error of nginx looks like one of the API."""
    assert response.status == status
    body = response.json
    assert set(body) == {"type", "title", "status", "code", "detail", "instance", "request_id"}
    assert (body["status"], body["code"], body["instance"]) == (status, code, path)
    assert body["type"].endswith(f"/problems/{code}")
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert {name: response.headers[name] for name in PROBLEM_HEADERS} == PROBLEM_HEADERS
    assert response.headers["Server"] == "nginx"
    return body


class TestFiles:
    @pytest.mark.parametrize("upstream", ["upstream.conf", "upstream.containers.conf"])
    def test_configuration_is_valid(self, tmp_path, upstream):
        gateway = Gateway(tmp_path, upstream)
        gateway.set_upstream_ports([5001, 5002])
        gateway.write()
        tested = subprocess.run(gateway.command("-t"), capture_output=True, text=True, check=False)
        complaints = [
            line
            for line in tested.stderr.splitlines()
            if "[" in line and '"listen ... http2" directive is deprecated' not in line
        ]
        assert (tested.returncode, complaints) == (0, [])

    def test_problems_have_the_texts_of_the_api(self):
        text = (NGINX / "task-api.conf").read_text().replace(r"\'", "'")
        problems = re.findall(
            r'"title":"([^"]+)","status":(\d+),"code":"([^"]+)","detail":"([^"]+)"', text
        )
        known = {problem.code: problem for problem in all_problems()}
        types = text.partition("$problem_code {")[2].partition("}")[0]
        assert [code for _, _, code, _ in problems] == re.findall(r" ([a-z_]+);", types)
        for title, status, code, detail in problems:
            problem = known[code]
            assert (title, int(status)) == (problem.title, problem.status)
            if code != "forbidden":
                assert detail == problem.detail

    def test_body_limits_are_slightly_above_the_api(self):
        text = (NGINX / "task-api.conf").read_text()
        sizes = re.findall(r"client_max_body_size (\d+)k;", text)
        maxima = (Config.MAX_CONTENT_LENGTH, Config.MAX_UPLOAD_LENGTH)
        for limit, ours in zip(sizes, maxima, strict=True):
            assert 0 < int(limit) * 1024 - ours < 128 * 1024


class TestJourney:
    def test_links_use_the_public_url(self, gateway, bearer):
        created = gateway.call("POST", "/api/v1/tasks", {"title": "Buy milk"}, bearer)
        assert created.status == 201
        assert created.headers["Location"] == created.json["url"]
        assert created.headers["Location"].startswith(f"{gateway.address}/api/v1/tasks/")
        assert created.headers["ETag"] == '"1"'
        listed = gateway.call("GET", "/api/v1/tasks?limit=1", headers=bearer)
        assert [task["title"] for task in listed.json["data"]] == ["Buy milk"]
        spoofed = bearer | {"Host": NAME, "X-Forwarded-Host": "evil.example", "Forwarded": "host=e"}
        again = gateway.call("POST", "/api/v1/tasks", {"title": "Eggs"}, spoofed)
        assert again.headers["Location"].startswith(gateway.address)

    def test_hsts_is_sent_once(self, gateway):
        for path in ("/ping", "/docs", "/nothing", "/metrics"):
            values = gateway.call("GET", path).headers.get_all("Strict-Transport-Security")
            assert values == ["max-age=31536000; includeSubDomains"]

    def test_forwarded_headers_of_clients_are_ignored(self, gateway, bearer):
        claims = {
            "X-Forwarded-For": "203.0.113.9, 198.51.100.7",
            "X-Real-IP": "203.0.113.9",
            "Forwarded": "for=203.0.113.9",
        }
        name = f"eve-{uuid4().hex[:8]}"
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        gateway.call("POST", "/api/v1/auth/register", account, claims)
        login = {"username": name, "password": PASSWORD}
        token = gateway.call("POST", "/api/v1/auth/login", login, claims).json["access_token"]
        headers = {"Authorization": f"Bearer {token}"} | claims
        sessions = gateway.call("GET", "/api/v1/auth/sessions", headers=headers).json["data"]
        assert [session["ip_address"] for session in sessions] == ["127.0.0.1"]

    def test_large_import_succeeds(self, gateway, bearer):
        title = b"title,description\r\n"
        file = title + b"Long,%b\r\n" % (b"x" * 20_000) * 300
        headers = bearer | {"Content-Type": "text/csv"}
        sent = gateway.call("POST", "/api/v1/imports", file, headers)
        assert sent.status == 202
        path = f"/api/v1/jobs/{sent.json['id']}"
        wait_for(lambda: gateway.call("GET", path, headers=bearer).json["finished_at"], 15)
        report = gateway.call("GET", f"{path}/result", headers=bearer)
        assert (report.json["created"], report.json["rows"]) == (300, [])
        longest = Config.MAX_UPLOAD_LENGTH
        for size, by_nginx in ((longest + 1, False), (longest + 2**20, True)):
            response = gateway.call("POST", "/api/v1/imports", b"x" * size, headers)
            assert (response.status, response.json["code"]) == (413, "payload_too_large")
            if by_nginx:
                assert_nginx_problem(response, 413, "payload_too_large", "/api/v1/imports")

    def test_valid_request_id_is_kept(self, gateway):
        valid = gateway.call("GET", "/ping", headers={"X-Request-ID": "mine-1"})
        assert valid.headers.get_all("X-Request-ID") == ["mine-1"]
        generated = gateway.call("GET", "/ping", headers={"X-Request-ID": "no spaces, please"})
        assert re.fullmatch("[0-9a-f]{32}", generated.headers["X-Request-ID"])
        rejected = gateway.call("GET", "/metrics", headers={"X-Request-ID": 'a"b'})
        assert re.fullmatch("[0-9a-f]{32}", rejected.json["request_id"])

    def test_log_has_no_query_and_no_token(self, gateway, bearer):
        headers = bearer | {"X-Request-ID": "logged-1"}
        gateway.call("GET", '/api/v1/tasks?q=secret-word"', headers=headers)
        last = logged(gateway, "logged-1")
        assert (last["method"], last["path"], last["status"]) == ("GET", "/api/v1/tasks", "200")
        assert last["ip_address"] == "127.0.0.1"
        text = (gateway.folder / "access.log").read_text()
        assert "secret-word" not in text
        assert bearer["Authorization"][7:] not in text


def logged(gateway, request_id):
    """Wait for the log line of a request, which is written after the response."""

    def find():
        return [line for line in gateway.log() if line["request_id"] == request_id]

    return wait_for(find, 10)[0]


class TestErrors:
    def test_too_large_body_is_a_problem(self, gateway, bearer):
        for size, by_nginx in ((Config.MAX_CONTENT_LENGTH + 1, False), (8 * 1024**2, True)):
            headers = bearer | {"Content-Type": "application/json"}
            response = gateway.call("POST", "/api/v1/tasks", b"x" * size, headers)
            assert (response.status, response.json["code"]) == (413, "payload_too_large")
            if by_nginx:
                assert_nginx_problem(response, 413, "payload_too_large", "/api/v1/tasks")

    @pytest.mark.parametrize(
        "path",
        ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/a/../metrics", "/metrics?x=1"],
    )
    def test_metrics_are_not_public(self, gateway, path):
        response = gateway.call("GET", path)
        assert_nginx_problem(response, 404, "not_found", path.partition("?")[0])

    def test_internal_location_is_not_found(self, gateway):
        assert_nginx_problem(
            gateway.call("GET", "/nginx/problem"), 404, "not_found", "/nginx/problem"
        )

    def test_trace_is_not_allowed(self, gateway):
        response = gateway.call("TRACE", "/api/v1/tasks")
        assert_nginx_problem(response, 405, "method_not_allowed", "/api/v1/tasks")
        assert "GET" in response.headers["Allow"]

    @pytest.mark.parametrize(
        "raw",
        [
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
            b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"GARBAGE\r\n\r\n",
        ],
        ids=["no host", "large header", "long path", "encoding", "two lengths", "garbage"],
    )
    def test_malformed_request_is_a_bad_request(self, gateway, raw):
        with gateway.connect() as connection:
            connection.sendall(raw)
            response = b""
            while more := connection.recv(65536):
                response += more
        assert b"400 Bad Request" in response
        assert b'"code":"bad_request"' in response

    @pytest.mark.parametrize(
        "lines",
        ["X: y\r\n" * 200, "Expect: miracles\r\n", "X: " + "y" * 8180 + "\r\n", "Na me: x\r\n"],
        ids=["many headers", "unknown expectation", "long header", "invalid name"],
    )
    def test_gunicorn_rejects_nothing_that_nginx_accepts(self, gateway, lines):
        with gateway.connect() as connection:
            head = f"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n"
            connection.sendall(head.encode())
            response = b""
            while more := connection.recv(65536):
                response += more
        head, _, body = response.partition(b"\r\n\r\n")
        assert b'{"message":"pong"}' in body or b"application/problem+json" in head, response

    def test_problem_is_valid_json_for_any_path(self, gateway):
        with gateway.connect() as connection:
            path = b'/metrics/"\\\xff?"x'
            connection.sendall(b"TRACE %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        assert b" 405 " in head
        assert b'"instance":"/metrics/",' in body

    def test_unknown_host_gets_no_response(self, gateway):
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
        with raw, pytest.raises(ssl.SSLError, match="unrecognized name"):
            gateway.context.wrap_socket(raw, server_hostname="evil.example")
        with HTTPSConnectionTo(gateway) as connection, pytest.raises(ConnectionError):
            send(connection, "GET", "/ping", headers={"Host": "evil.example"})

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_old_tls_versions_are_rejected(self, gateway, version):
        context = ssl.create_default_context(cafile=gateway.folder / "fullchain.pem")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
        with raw, pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname=NAME)


class TestPlainHttp:
    @pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/problems/not_found"])
    def test_pages_redirect_to_https(self, gateway, path):
        for method in ("GET", "HEAD"):
            response = gateway.call_plainly(method, path)
            assert (response.status, response.headers["Location"]) == (
                301,
                f"{gateway.address}{path}",
            )

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/api/v1/tasks"),
            ("POST", "/api/v1/auth/login"),
            ("POST", "/"),
            ("GET", "/ping"),
            ("GET", "/assets/x.js"),
            ("DELETE", "/docs"),
        ],
    )
    def test_api_calls_are_rejected(self, gateway, method, path):
        response = gateway.call_plainly(method, path, b"{}" if method == "POST" else None)
        body = assert_nginx_problem(response, 403, "forbidden", path)
        assert "HTTPS" in body["detail"]
        assert "Location" not in response.headers
        assert "Strict-Transport-Security" not in response.headers  # RFC 6797, 7.2

    def test_requests_with_a_token_are_rejected(self, gateway, bearer):
        response = gateway.call_plainly("GET", "/docs", headers=bearer)
        assert_nginx_problem(response, 403, "forbidden", "/docs")

    def test_acme_challenge_is_served(self, gateway):
        place = gateway.folder / "acme" / ".well-known" / "acme-challenge"
        place.mkdir(parents=True)
        (place / "proof").write_text("proven")
        response = gateway.call_plainly("GET", "/.well-known/acme-challenge/proof")
        assert (response.status, response.body) == (200, b"proven")


class TestCompression:
    GZIP = {"Accept-Encoding": "gzip"}

    def test_list_is_compressed_and_revalidated(self, gateway, bearer):
        for number in range(10):
            gateway.call("POST", "/api/v1/tasks", {"title": f"Task {number}"}, bearer)
        plain = gateway.call("GET", "/api/v1/tasks", headers=bearer)
        response = gateway.call("GET", "/api/v1/tasks", headers=bearer | self.GZIP)
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.body) == plain.body
        assert "Accept-Encoding" in ", ".join(response.headers.get_all("Vary"))
        conditional = {"If-None-Match": response.headers["ETag"]}
        assert (
            gateway.call("GET", "/api/v1/tasks", headers=bearer | self.GZIP | conditional).status
            == 304
        )

    def test_documentation_is_compressed(self, gateway):
        for path in (
            "/api/v1/openapi.json",
            "/api/v1/openapi.yaml",
            "/assets/swagger-ui-bundle.js",
        ):
            response = gateway.call("GET", path, headers=self.GZIP)
            assert response.headers["Content-Encoding"] == "gzip"

    def test_resource_with_version_keeps_its_strong_etag(self, gateway, bearer):
        long = {"title": "Long", "description": "x" * 5000}
        created = gateway.call("POST", "/api/v1/tasks", long, bearer | self.GZIP)
        path = f"/api/v1/tasks/{created.json['id']}"
        read = gateway.call("GET", path, headers=bearer | self.GZIP)
        for response in (created, read):
            assert response.headers["ETag"] == '"1"'
            assert "Content-Encoding" not in response.headers
        conditional = bearer | {"If-Match": read.headers["ETag"]}
        assert gateway.call("PATCH", path, {"title": "Longer"}, conditional).status == 200

    def test_tokens_are_not_compressed(self, gateway):
        name = f"tok-{uuid4().hex[:8]}"
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        gateway.call("POST", "/api/v1/auth/register", account)
        login = {"username": name, "password": PASSWORD}
        response = gateway.call("POST", "/api/v1/auth/login", login, self.GZIP)
        assert response.status == 200
        assert "Content-Encoding" not in response.headers


class TestFailover:
    def test_other_process_takes_over(self):
        with deployed() as deployment:
            gateway = deployment.gateway
            bearer = {"Authorization": f"Bearer {create_user(gateway)['access_token']}"}
            first, second = deployment.servers
            first.kill()
            for number in range(20):
                # A request that the killed process had gets 503, and is repeated.
                key = bearer | {"Idempotency-Key": str(number)}
                task = {"title": f"Task {number}"}
                responses = [gateway.call("POST", "/api/v1/tasks", task, key)]
                while responses[-1].status == 503 and len(responses) < 3:
                    assert responses[-1].headers["Retry-After"] == "5"
                    responses.append(gateway.call("POST", "/api/v1/tasks", task, key))
                assert responses[-1].status == 201
                assert gateway.call("GET", "/api/v1/tasks", headers=bearer).status == 200
            listed = gateway.call("GET", "/api/v1/tasks?limit=200", headers=bearer).json["data"]
            assert sorted(int(task["title"][5:]) for task in listed) == list(range(20))
            second.kill()
            response = gateway.call("GET", "/api/v1/tasks", headers=bearer)
            assert_nginx_problem(response, 503, "unavailable", "/api/v1/tasks")
            second.start()
            wait_for(lambda: gateway.call("GET", "/api/v1/tasks", headers=bearer).status == 200, 15)

    @pytest.mark.parametrize(
        ("method", "times"), [("GET", 2), ("HEAD", 2), ("POST", 1), ("PATCH", 1)]
    )
    def test_only_safe_requests_are_retried(self, tmp_path, method, times):
        with dying_server() as (first, seen), dying_server(seen) as (second, _):
            gateway = Gateway(tmp_path)
            gateway.set_upstream_ports([first, second])
            with gateway.running():
                response = gateway.call(method, "/api/v1/tasks", {} if "P" in method else None)
                assert response.status == 503
                assert seen == [method] * times


@contextmanager
def dying_server(seen=None):
    """A server that reads requests and closes connections; yields its port and their methods."""
    methods = [] if seen is None else seen

    class Dying(BaseHTTPRequestHandler):
        def handle_one_request(self):
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                methods.append(self.command)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, methods
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
