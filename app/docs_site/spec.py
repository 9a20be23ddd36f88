"""The OpenAPI document as JSON and as YAML."""

from collections.abc import Callable
from typing import Any

import orjson
import yaml
from flask import Flask

from app.api import openapi
from app.docs_site.static_body import StaticBody

JSON, YAML = "application/json", "application/yaml"


def as_json(app: Flask) -> StaticBody:
    return _build_once(app, JSON, orjson.dumps)


def as_yaml(app: Flask) -> StaticBody:
    return _build_once(app, YAML, lambda document: to_yaml(document).encode())


def _build_once(
    app: Flask, media_type: str, serialize: Callable[[openapi.Document], bytes]
) -> StaticBody:
    """Return the document with PUBLIC_URL as its server; build it at the first request."""
    bodies: dict[str, StaticBody] = app.extensions.setdefault("openapi", {})
    if media_type not in bodies:
        document = openapi.build(app) | {"servers": [{"url": app.config["PUBLIC_URL"]}]}
        bodies[media_type] = StaticBody.create(serialize(document), media_type)
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
