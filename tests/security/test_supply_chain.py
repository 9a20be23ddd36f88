"""Checks P1 and P2: hashes in the lock, the bill of materials, and the audit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.conftest import ROOT

LOCK = json.loads((ROOT / "Pipfile.lock").read_text())
SERVED = LOCK["default"]


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def vulnerability_service(respond) -> Iterator[str]:
    """Serve the OSV API on loopback; ``respond`` maps a package to a response, None to 503."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            response = respond(query["package"]["name"])
            body = json.dumps(response or {}).encode()
            self.send_response(503 if response is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audit(url):
    return run(".ci/audit", "--vulnerability-service", "osv", "--osv-url", url)


def test_p1_every_locked_package_has_hashes():
    for part in ("default", "develop"):
        assert LOCK[part]
        for name, package in LOCK[part].items():
            assert all(value.startswith("sha256:") for value in package["hashes"]), name
            assert package["hashes"], name


def test_p1_package_with_a_wrong_hash_is_not_installed(tmp_path):
    listed = run(".ci/dependencies", "lock").stdout.splitlines()
    [right] = [line for line in listed if line.startswith("itsdangerous==")]
    wrong = right.split(" ")[0] + " --hash=sha256:" + "0" * 64

    def install(line, where):
        (tmp_path / "locked.txt").write_text(line)
        options = ("--quiet", "--no-deps", "--target", str(tmp_path / where))
        pip = (sys.executable, "-m", "pip", "install", *options)
        return run(*pip, "--require-hashes", "-r", str(tmp_path / "locked.txt"))

    assert install(right, "right").returncode == 0
    assert (tmp_path / "right" / "itsdangerous").is_dir()
    rejected = install(wrong, "wrong")
    assert rejected.returncode != 0
    assert "DO NOT MATCH THE HASHES" in rejected.stderr
    assert not (tmp_path / "wrong" / "itsdangerous").exists()


def test_p1_bill_of_materials_matches_the_lock():
    process = run(".ci/sbom")
    assert process.returncode == 0, process.stderr
    bill = json.loads(process.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    listed = {component["name"]: f"=={component['version']}" for component in bill["components"]}
    assert listed == {name: package["version"] for name, package in SERVED.items()}


def test_p2_audit_checks_every_package():
    checked = []
    with vulnerability_service(lambda name: checked.append(name) or {"vulns": []}) as url:
        process = audit(url)
    assert process.returncode == 0, process.stderr
    locked = LOCK["default"].keys() | LOCK["develop"].keys()
    assert set(checked) == {name.replace(".", "-") for name in locked}
    assert f"{len(checked)} packages audited, 0 vulnerabilities." in process.stdout


def test_p2_audit_fails_on_a_vulnerability():
    vulnerability = {
        "id": "PYSEC-2030-1",
        "summary": "A vulnerability.",
        "affected": [{"package": {"name": "flask", "ecosystem": "PyPI"}, "ranges": []}],
    }
    with vulnerability_service(lambda name: {"vulns": [vulnerability] * (name == "flask")}) as url:
        process = audit(url)
    assert process.returncode != 0
    assert "PYSEC-2030-1" in process.stdout


@pytest.mark.parametrize("failing_prefix", ["flask", ""])
def test_p2_audit_fails_if_a_package_was_not_checked(failing_prefix):
    def respond(name):
        return None if name.startswith(failing_prefix) else {"vulns": []}

    with vulnerability_service(respond) as url:
        process = audit(url)
    assert process.returncode != 0
    assert "0 vulnerabilities" not in process.stdout
