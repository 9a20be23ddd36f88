"""Tests that docs/requests.http lists every operation of the API."""

import re
from pathlib import Path

REQUESTS_FILE = Path(__file__).resolve().parent.parent / "docs" / "requests.http"


def test_requests_file_lists_every_operation(app):
    adapter = app.url_map.bind("localhost")
    text = REQUESTS_FILE.read_text()
    listed = set()
    for method, target in re.findall(r"^([A-Z]+) \{\{base\}\}(\S*)", text, re.MULTILINE):
        path = target.partition("?")[0].replace("{{created.response.body.id}}", "1")
        listed.add((method, adapter.match(f"/api/v1{path}", method)[0]))
    routes = {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert sorted(routes - listed) == [], "add a request for each to docs/requests.http"
    assert sorted(listed - routes) == []
