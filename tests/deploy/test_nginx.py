"""The deployed front: nginx as deploy/nginx has it, before two API processes on one database."""

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
from app.errors import kinds
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
    """A new account's tokens, fetched as a client does."""
    return open_account(gateway)


@pytest.fixture
def bearer(tokens):
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def open_account(gateway):
    name = f"ada-{uuid4().hex[:8]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    assert gateway.call("POST", "/api/v1/auth/register", account).status == 201
    login = gateway.call("POST", "/api/v1/auth/login", {"username": name, "password": PASSWORD})
    assert login.status == 200
    return login.json


def assert_nginx_problem(answer, status, code, path):
    """Assert that nginx's own refusal is just what the API's would be."""
    assert answer.status == status
    body = answer.json
    assert set(body) == {"type", "title", "status", "code", "detail", "instance", "request_id"}
    assert (body["status"], body["code"], body["instance"]) == (status, code, path)
    assert body["type"].endswith(f"/problems/{code}")
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert {name: answer.headers[name] for name in PROBLEM_HEADERS} == PROBLEM_HEADERS
    assert answer.headers["Server"] == "nginx"
    return body


class TestFiles:
    @pytest.mark.parametrize("upstream", ["upstream.conf", "upstream.containers.conf"])
    def test_nginx_finds_nothing_to_complain_of(self, tmp_path, upstream):
        gateway = Gateway(tmp_path, upstream)
        gateway.lead_to([5001, 5002])
        gateway.write()
        tested = subprocess.run(gateway.command("-t"), capture_output=True, text=True, check=False)
        complaints = [
            line
            for line in tested.stderr.splitlines()
            if "[" in line and '"listen ... http2" directive is deprecated' not in line
        ]
        assert (tested.returncode, complaints) == (0, [])

    def test_the_problems_of_nginx_are_worded_as_ours(self):
        text = (NGINX / "task-api.conf").read_text().replace(r"\'", "'")
        told = re.findall(
            r'"title":"([^"]+)","status":(\d+),"code":"([^"]+)","detail":"([^"]+)"', text
        )
        known = {kind.code: kind for kind in kinds()}
        types = text.partition("$problem_code {")[2].partition("}")[0]
        assert [code for _, _, code, _ in told] == re.findall(r" ([a-z_]+);", types)
        for title, status, code, detail in told:
            kind = known[code]
            assert (title, int(status)) == (kind.title, kind.status)
            if code != "forbidden":
                assert detail == kind.detail

    def test_the_limit_on_bodies_is_just_above_ours(self):
        text = (NGINX / "task-api.conf").read_text()
        found = re.findall(r"client_max_body_size (\d+)k;", text)
        ours = (Config.MAX_CONTENT_LENGTH, Config.MAX_UPLOAD_LENGTH)
        for told, most in zip(found, ours, strict=True):
            assert 0 < int(told) * 1024 - most < 128 * 1024


class TestJourney:
    def test_the_whole_job_over_tls_with_links_of_the_public_address(self, gateway, bearer):
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

    def test_every_answer_over_tls_says_once_to_stay_with_it(self, gateway):
        for path in ("/ping", "/docs", "/nothing", "/metrics"):
            values = gateway.call("GET", path).headers.get_all("Strict-Transport-Security")
            assert values == ["max-age=31536000; includeSubDomains"]

    def test_an_address_that_the_client_makes_up_is_not_the_sessions(self, gateway, bearer):
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

    def test_a_file_to_import_may_be_long_and_its_result_comes_back(self, gateway, bearer):
        title = b"title,description\r\n"
        file = title + b"Long,%b\r\n" % (b"x" * 20_000) * 300
        headers = bearer | {"Content-Type": "text/csv"}
        sent = gateway.call("POST", "/api/v1/imports", file, headers)
        assert sent.status == 202
        path = f"/api/v1/jobs/{sent.json['id']}"
        wait_for(lambda: gateway.call("GET", path, headers=bearer).json["finished_at"], 15)
        report = gateway.call("GET", f"{path}/result", headers=bearer)
        assert report.json == {"created": 300, "refused": 0, "rows": []}
        longest = Config.MAX_UPLOAD_LENGTH
        for size, told_by_nginx in ((longest + 1, False), (longest + 2**20, True)):
            answer = gateway.call("POST", "/api/v1/imports", b"x" * size, headers)
            assert (answer.status, answer.json["code"]) == (413, "payload_too_large")
            if told_by_nginx:
                assert_nginx_problem(answer, 413, "payload_too_large", "/api/v1/imports")

    def test_a_request_id_goes_through_and_a_bad_one_is_replaced(self, gateway):
        given = gateway.call("GET", "/ping", headers={"X-Request-ID": "mine-1"})
        assert given.headers.get_all("X-Request-ID") == ["mine-1"]
        made = gateway.call("GET", "/ping", headers={"X-Request-ID": "no spaces, please"})
        assert re.fullmatch("[0-9a-f]{32}", made.headers["X-Request-ID"])
        refused = gateway.call("GET", "/metrics", headers={"X-Request-ID": 'a"b'})
        assert re.fullmatch("[0-9a-f]{32}", refused.json["request_id"])

    def test_the_log_tells_of_each_request_without_its_query_or_token(self, gateway, bearer):
        headers = bearer | {"X-Request-ID": "logged-1"}
        gateway.call("GET", '/api/v1/tasks?q=secret-word"', headers=headers)
        last = logged(gateway, "logged-1")
        assert (last["method"], last["path"], last["status"]) == ("GET", "/api/v1/tasks", "200")
        assert last["ip_address"] == "127.0.0.1"
        text = (gateway.folder / "access.log").read_text()
        assert "secret-word" not in text
        assert bearer["Authorization"][7:] not in text


def logged(gateway, request_id):
    """Return the line of a request, which nginx writes after it has answered."""

    def found():
        return [line for line in gateway.log() if line["request_id"] == request_id]

    return wait_for(found, 10)[0]


class TestRefusals:
    def test_a_body_over_the_limit_is_a_problem(self, gateway, bearer):
        for size, told_by_nginx in ((Config.MAX_CONTENT_LENGTH + 1, False), (8 * 1024**2, True)):
            headers = bearer | {"Content-Type": "application/json"}
            answer = gateway.call("POST", "/api/v1/tasks", b"x" * size, headers)
            assert (answer.status, answer.json["code"]) == (413, "payload_too_large")
            if told_by_nginx:
                assert_nginx_problem(answer, 413, "payload_too_large", "/api/v1/tasks")

    @pytest.mark.parametrize(
        "path",
        ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/a/../metrics", "/metrics?x=1"],
    )
    def test_metrics_are_not_for_the_public(self, gateway, path):
        answer = gateway.call("GET", path)
        assert_nginx_problem(answer, 404, "not_found", path.partition("?")[0])

    def test_the_place_of_nginx_s_problems_can_t_be_asked_for(self, gateway):
        assert_nginx_problem(
            gateway.call("GET", "/nginx/problem"), 404, "not_found", "/nginx/problem"
        )

    def test_trace_is_not_allowed_and_what_is_stands_there(self, gateway):
        answer = gateway.call("TRACE", "/api/v1/tasks")
        assert_nginx_problem(answer, 405, "method_not_allowed", "/api/v1/tasks")
        assert "GET" in answer.headers["Allow"]

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
    def test_what_is_no_request_is_a_bad_request(self, gateway, raw):
        with gateway.connect() as connection:
            connection.sendall(raw)
            answer = b""
            while more := connection.recv(65536):
                answer += more
        assert b"400 Bad Request" in answer
        assert b'"code":"bad_request"' in answer

    def test_a_path_that_is_no_json_text_makes_none_of_the_problem(self, gateway):
        with gateway.connect() as connection:
            path = b'/metrics/"\\\xff?"x'
            connection.sendall(b"TRACE %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        assert b" 405 " in head
        assert b'"instance":"/metrics/",' in body

    def test_another_name_is_not_answered(self, gateway):
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
        with raw, pytest.raises(ssl.SSLError, match="unrecognized name"):
            gateway.context.wrap_socket(raw, server_hostname="evil.example")
        with HTTPSConnectionTo(gateway) as connection, pytest.raises(ConnectionError):
            send(connection, "GET", "/ping", headers={"Host": "evil.example"})

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_an_old_tls_is_refused(self, gateway, version):
        context = ssl.create_default_context(cafile=gateway.folder / "fullchain.pem")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
        with raw, pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname=NAME)


class TestWithoutTls:
    @pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/problems/not_found"])
    def test_a_visit_to_a_page_is_led_on(self, gateway, path):
        for method in ("GET", "HEAD"):
            answer = gateway.call_plainly(method, path)
            assert (answer.status, answer.headers["Location"]) == (301, f"{gateway.address}{path}")

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
    def test_a_call_is_refused_and_not_led_on(self, gateway, method, path):
        answer = gateway.call_plainly(method, path, b"{}" if method == "POST" else None)
        body = assert_nginx_problem(answer, 403, "forbidden", path)
        assert "HTTPS" in body["detail"]
        assert "Location" not in answer.headers
        assert "Strict-Transport-Security" not in answer.headers  # RFC 6797, 7.2

    def test_a_token_is_refused_wherever_it_goes(self, gateway, bearer):
        answer = gateway.call_plainly("GET", "/docs", headers=bearer)
        assert_nginx_problem(answer, 403, "forbidden", "/docs")

    def test_the_certificate_s_proof_is_served(self, gateway):
        place = gateway.folder / "acme" / ".well-known" / "acme-challenge"
        place.mkdir(parents=True)
        (place / "proof").write_text("proven")
        answer = gateway.call_plainly("GET", "/.well-known/acme-challenge/proof")
        assert (answer.status, answer.body) == (200, b"proven")


class TestCompression:
    GZIP = {"Accept-Encoding": "gzip"}

    def test_a_list_is_compressed_and_asked_for_again_is_304(self, gateway, bearer):
        for number in range(10):
            gateway.call("POST", "/api/v1/tasks", {"title": f"Task {number}"}, bearer)
        plain = gateway.call("GET", "/api/v1/tasks", headers=bearer)
        answer = gateway.call("GET", "/api/v1/tasks", headers=bearer | self.GZIP)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.body) == plain.body
        assert "Accept-Encoding" in ", ".join(answer.headers.get_all("Vary"))
        held = {"If-None-Match": answer.headers["ETag"]}
        assert gateway.call("GET", "/api/v1/tasks", headers=bearer | self.GZIP | held).status == 304

    def test_the_document_and_what_shows_it_are_compressed(self, gateway):
        for path in (
            "/api/v1/openapi.json",
            "/api/v1/openapi.yaml",
            "/assets/swagger-ui-bundle.js",
        ):
            answer = gateway.call("GET", path, headers=self.GZIP)
            assert answer.headers["Content-Encoding"] == "gzip"

    def test_what_has_a_version_keeps_the_strong_tag_that_if_match_takes(self, gateway, bearer):
        long = {"title": "Long", "description": "x" * 5000}
        made = gateway.call("POST", "/api/v1/tasks", long, bearer | self.GZIP)
        path = f"/api/v1/tasks/{made.json['id']}"
        read = gateway.call("GET", path, headers=bearer | self.GZIP)
        for answer in (made, read):
            assert answer.headers["ETag"] == '"1"'
            assert "Content-Encoding" not in answer.headers
        held = bearer | {"If-Match": read.headers["ETag"]}
        assert gateway.call("PATCH", path, {"title": "Longer"}, held).status == 200

    def test_tokens_are_not_compressed(self, gateway):
        name = f"tok-{uuid4().hex[:8]}"
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        gateway.call("POST", "/api/v1/auth/register", account)
        login = {"username": name, "password": PASSWORD}
        answer = gateway.call("POST", "/api/v1/auth/login", login, self.GZIP)
        assert answer.status == 200
        assert "Content-Encoding" not in answer.headers


class TestFailover:
    def test_with_one_process_killed_the_other_does_everything_once(self):
        with deployed() as deployment:
            gateway = deployment.gateway
            bearer = {"Authorization": f"Bearer {open_account(gateway)['access_token']}"}
            first, second = deployment.servers
            first.kill()
            for number in range(20):
                # What was with the process when it died is told as 503, and sent again.
                key = bearer | {"Idempotency-Key": str(number)}
                task = {"title": f"Task {number}"}
                answers = [gateway.call("POST", "/api/v1/tasks", task, key)]
                while answers[-1].status == 503 and len(answers) < 3:
                    assert answers[-1].headers["Retry-After"] == "5"
                    answers.append(gateway.call("POST", "/api/v1/tasks", task, key))
                assert answers[-1].status == 201
                assert gateway.call("GET", "/api/v1/tasks", headers=bearer).status == 200
            listed = gateway.call("GET", "/api/v1/tasks?limit=200", headers=bearer).json["data"]
            assert sorted(int(task["title"][5:]) for task in listed) == list(range(20))
            second.kill()
            answer = gateway.call("GET", "/api/v1/tasks", headers=bearer)
            assert_nginx_problem(answer, 503, "unavailable", "/api/v1/tasks")
            second.start()
            wait_for(lambda: gateway.call("GET", "/api/v1/tasks", headers=bearer).status == 200, 15)

    @pytest.mark.parametrize(
        ("method", "times"), [("GET", 2), ("HEAD", 2), ("POST", 1), ("PATCH", 1)]
    )
    def test_what_dies_after_it_has_begun_is_tried_again_only_if_that_is_safe(
        self, tmp_path, method, times
    ):
        with dying_server() as (first, seen), dying_server(seen) as (second, _):
            gateway = Gateway(tmp_path)
            gateway.lead_to([first, second])
            with gateway.running():
                answer = gateway.call(method, "/api/v1/tasks", {} if "P" in method else None)
                assert answer.status == 503
                assert seen == [method] * times


@contextmanager
def dying_server(seen=None):
    """A server that takes a request and closes the connection; tells its port and what it took."""
    taken = [] if seen is None else seen

    class Dying(BaseHTTPRequestHandler):
        def handle_one_request(self):
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                taken.append(self.command)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
