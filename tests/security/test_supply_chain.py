"""What the service is made of: locked with hashes, listed, and audited without gaps."""

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
def vulnerability_service(answers) -> Iterator[str]:
    """Serve OSV's query on loopback: ``answers`` tells of a package's name what is said of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = answers(asked["package"]["name"])
            body = json.dumps(answer or {}).encode()
            self.send_response(503 if answer is None else 200)
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


def test_p1_everything_in_the_lock_has_its_hashes():
    for part in ("default", "develop"):
        assert LOCK[part]
        for name, package in LOCK[part].items():
            assert all(known.startswith("sha256:") for known in package["hashes"]), name
            assert package["hashes"], name


def test_p1_a_package_that_is_not_the_locked_one_is_not_installed(tmp_path):
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
    refused = install(wrong, "wrong")
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "wrong" / "itsdangerous").exists()


def test_p1_the_bill_of_materials_is_the_lock():
    printed = run(".ci/sbom")
    assert printed.returncode == 0, printed.stderr
    bill = json.loads(printed.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    listed = {component["name"]: f"=={component['version']}" for component in bill["components"]}
    assert listed == {name: package["version"] for name, package in SERVED.items()}


def test_p2_an_audit_that_finds_nothing_has_asked_about_every_package():
    asked = []
    with vulnerability_service(lambda name: asked.append(name) or {"vulns": []}) as url:
        found = audit(url)
    assert found.returncode == 0, found.stderr
    locked = LOCK["default"].keys() | LOCK["develop"].keys()
    assert set(asked) == {name.replace(".", "-") for name in locked}
    assert f"{len(asked)} packages audited, 0 vulnerabilities." in found.stdout


def test_p2_an_audit_fails_by_a_vulnerability_and_names_it():
    flaw = {
        "id": "PYSEC-2030-1",
        "summary": "It is broken.",
        "affected": [{"package": {"name": "flask", "ecosystem": "PyPI"}, "ranges": []}],
    }
    with vulnerability_service(lambda name: {"vulns": [flaw] * (name == "flask")}) as url:
        found = audit(url)
    assert found.returncode != 0
    assert "PYSEC-2030-1" in found.stdout


@pytest.mark.parametrize("unanswered", ["flask", ""])
def test_p2_an_audit_fails_when_nobody_could_be_asked_about_a_package(unanswered):
    def answer(name):
        return None if name.startswith(unanswered) else {"vulns": []}

    with vulnerability_service(answer) as url:
        found = audit(url)
    assert found.returncode != 0
    assert "0 vulnerabilities" not in found.stdout
