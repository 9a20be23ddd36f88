"""The OpenAPI document as JSON and as YAML."""

from typing import Any

import orjson
import yaml
from flask import Flask

from app.api import openapi
from app.docs_site.assets import StaticBody

JSON, YAML = "application/json", "application/yaml"


def load(app: Flask, media_type: str) -> StaticBody:
    """Return the document with PUBLIC_URL as its server; build it at the first request."""
    bodies: dict[str, StaticBody] = app.extensions.setdefault("openapi", {})
    if media_type not in bodies:
        document = openapi.build(app) | {"servers": [{"url": app.config["PUBLIC_URL"]}]}
        text = orjson.dumps(document) if media_type == JSON else to_yaml(document).encode()
        bodies[media_type] = StaticBody(text, media_type)
    return bodies[media_type]


class _Dumper(yaml.CSafeDumper):
    """Writes multi-line strings as blocks, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_string(dumper: _Dumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_string)


def to_yaml(document: openapi.Document) -> str:
    """Serialize a document, with its keys in their order."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
