"""``flask openapi write`` writes the document that a test compares with the code."""

from app.cli import openapi
from app.http.openapi import build
from app.site.document import to_yaml


def test_write_writes_the_document(app, monkeypatch, tmp_path):
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(openapi, "ROOT", tmp_path)
    monkeypatch.setattr(openapi, "COMMITTED", tmp_path / "docs" / "api.yaml")
    ran = app.test_cli_runner().invoke(args=["openapi", "write"])
    assert (ran.exit_code, ran.output) == (0, "Wrote docs/api.yaml.\n")
    assert (tmp_path / "docs" / "api.yaml").read_text() == to_yaml(build(app))
