"""nginx with the configuration of deploy/nginx, in front of API processes."""

import datetime as dt
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Self

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.ports import free_port
from benchmarks.server import ROOT, Server, new_database

NGINX = ROOT / "deploy" / "nginx"
NAME = "localhost"

needs_nginx = pytest.mark.skipif(
    not shutil.which("nginx") and "NO_SKIPS" not in os.environ, reason="needs nginx"
)


def certify(folder: Path) -> None:
    """Write a certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class Gateway:
    """An nginx with the configuration of deploy/nginx, except for paths and ports."""

    def __init__(self, folder: Path, upstream: str = "upstream.conf", prefix: str = "") -> None:
        self.folder = folder
        self.prefix = prefix
        self.port, self.plain_port = free_port(), free_port()
        self.address = f"https://{NAME}:{self.port}"
        self.upstream = (NGINX / upstream).read_text()
        certify(folder)
        self.context = ssl.create_default_context(cafile=folder / "fullchain.pem")

    def set_upstream_ports(self, ports: list[int]) -> None:
        """Replace the ports of the upstream."""
        left = iter(ports)
        self.upstream = re.sub(
            r"(?m)^    server \S+?(;|(?= ))",
            lambda match: f"    server 127.0.0.1:{next(left)}{match[1]}",
            self.upstream,
        )

    def write(self) -> Path:
        """Write the configuration with our paths and ports; return its main file."""
        ours = self.folder / "task-api"
        ours.mkdir()
        (ours / "upstream.conf").write_text(self.upstream)
        for name in ("task-api.conf", "problems.conf"):
            (ours / name).write_text(self._placed(name))
        temporary = "".join(
            f"    {kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main = self._placed("nginx.conf").replace("http {\n", f"http {{\n{temporary}")
        (self.folder / "nginx.conf").write_text(main)
        return self.folder / "nginx.conf"

    def _placed(self, name: str) -> str:
        text = (NGINX / name).read_text()
        for written, ours in {
            "https://api.example.com": self.address,
            "api.example.com": NAME,
            "user www-data;": "",
            "worker_processes auto;": "worker_processes 2;",
            "/etc/nginx/tls/": f"{self.folder}/",
            "/etc/nginx/": f"{self.folder}/",
            "/run/nginx.pid": f"{self.folder}/nginx.pid",
            "/var/log/nginx/": f"{self.folder}/",
            "/var/www/acme": f"{self.folder}/acme",
            # In this order: a free port may begin with 443, and none with 80.
            "listen 443": f"listen {self.port}",
            "listen [::]:443": f"listen [::]:{self.port}",
            "listen 80": f"listen {self.plain_port}",
            "listen [::]:80": f"listen [::]:{self.plain_port}",
        }.items():
            text = text.replace(written, ours)
        if self.prefix and name == "task-api.conf":
            # As docs/deployment.md describes it.
            before, location, after = text.rpartition("    location / {\n")
            rewrite = f"        rewrite ^{self.prefix}(/.*)$ $1 last;\n"
            ours = f"    location {self.prefix}/ {{\n{rewrite}    }}\n\n"
            text = f"{before}{ours}{location}{after}"
        return text

    def command(self, *options: str) -> list[str | Path]:
        return [
            "nginx",
            "-e",
            self.folder / "error.log",
            "-c",
            self.folder / "nginx.conf",
            *options,
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        self.write()
        self.folder.chmod(0o755)  # nginx's workers are not root
        process = subprocess.Popen(self.command("-g", "daemon off;"))
        try:
            self._wait(process)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    error = (self.folder / "error.log").read_text()
                    raise RuntimeError(f"nginx did not start:\n{error}") from None
                time.sleep(0.05)
            else:
                return

    def connect(self) -> ssl.SSLSocket:
        """Open a connection over TLS."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.context.wrap_socket(raw, server_hostname=NAME)

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> "GatewayResponse":
        """Send one request over TLS."""
        with HTTPSConnectionTo(self) as connection:
            return send(connection, method, path, body, headers)

    def call_plainly(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> "GatewayResponse":
        """Send one request without TLS."""
        connection = HTTPConnection(NAME, self.plain_port, timeout=20)
        try:
            return send(connection, method, path, body, headers)
        finally:
            connection.close()

    def log(self) -> list[dict[str, str]]:
        """Return the lines of the access log."""
        return [
            orjson.loads(line) for line in (self.folder / "access.log").read_bytes().splitlines()
        ]


class HTTPSConnectionTo(HTTPSConnection):
    """A connection that trusts the certificate of the tests; a context manager."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(NAME, gateway.port, timeout=60, context=gateway.context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class GatewayResponse:
    """A response: status, headers, body."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def send(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> GatewayResponse:
    """Send a request; a body that is not bytes is sent as JSON."""
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = orjson.dumps(body)
        sent.setdefault("Content-Type", "application/json")
    connection.request(method, path, body, sent)
    return GatewayResponse(connection.getresponse())


class Deployment:
    """nginx, and the API processes behind it."""

    def __init__(self, gateway: Gateway, servers: list[Server]) -> None:
        self.gateway, self.servers = gateway, servers


@contextmanager
def deployed(size: int = 2, prefix: str = "", **settings: str) -> Iterator[Deployment]:
    """Run nginx in front of API processes that share one database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        instance = stack.enter_context(tempfile.TemporaryDirectory())
        server = os.environ.get("TEST_DATABASE_URL")
        url = stack.enter_context(new_database(server, instance))
        gateway = Gateway(folder, prefix=prefix)
        behind_nginx = {
            "PUBLIC_URL": f"{gateway.address}{prefix}",
            "TRUSTED_PROXIES": "1",
            "RATELIMIT_ENABLED": "0",
            "WEB_CONCURRENCY": "1",
        }
        servers = []
        for _ in range(size):
            started = Server(url, instance, behind_nginx | settings)
            started.start()
            stack.callback(started.kill)
            servers.append(started)
        gateway.set_upstream_ports([started.port for started in servers])
        stack.enter_context(gateway.running())
        yield Deployment(gateway, servers)
