"""The OpenAPI document as it is served and as it is committed."""

from collections.abc import Callable
from typing import Any

import orjson
import yaml
from flask import Flask

from app.http import openapi
from app.site.served import Served

JSON, YAML = "application/json", "application/yaml"


def as_json(app: Flask) -> Served:
    """Return the document as JSON, with the address that clients use as its server."""
    return _made_once(app, JSON, orjson.dumps)


def as_yaml(app: Flask) -> Served:
    """Return the same as YAML."""
    return _made_once(app, YAML, lambda document: to_yaml(document).encode())


def _made_once(app: Flask, media_type: str, write: Callable[[openapi.Document], bytes]) -> Served:
    made: dict[str, Served] = app.extensions.setdefault("openapi", {})
    if media_type not in made:
        servers = [{"url": app.config["PUBLIC_URL"]}]
        made[media_type] = Served.of(write(openapi.build(app) | {"servers": servers}), media_type)
    return made[media_type]


class _Dumper(yaml.CSafeDumper):
    """Writes paragraphs as paragraphs, and the same thing twice rather than by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def to_yaml(document: openapi.Document) -> str:
    """Return the text of ``document``, in its own order."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
