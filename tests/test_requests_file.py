"""docs/requests.http has every call of the API, and no other."""

import re
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "docs" / "requests.http"


def test_the_requests_file_has_every_call_and_no_other(app):
    calls = set()
    for method, line in re.findall(r"^([A-Z]+) \{\{base\}\}(\S+)", FILE.read_text(), re.MULTILINE):
        path = line.partition("?")[0].replace("{{created.response.body.id}}", "1")
        adapter = app.url_map.bind("localhost")
        calls.add((method, adapter.match(f"/api/v1{path}", method)[0]))
    routes = {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert calls == routes
