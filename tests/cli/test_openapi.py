"""``flask openapi``."""

from app.api.openapi import build
from app.cli import maintenance
from app.docs_site.spec import to_yaml


def test_write_creates_the_document(app, monkeypatch, tmp_path):
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(maintenance, "ROOT", tmp_path)
    monkeypatch.setattr(maintenance, "DOCUMENT", tmp_path / "docs" / "api.yaml")
    result = app.test_cli_runner().invoke(args=["openapi", "write"])
    assert (result.exit_code, result.output) == (0, "Wrote docs/api.yaml.\n")
    assert (tmp_path / "docs" / "api.yaml").read_text() == to_yaml(build(app))
