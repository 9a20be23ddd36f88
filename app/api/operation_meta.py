"""Metadata of operations, collected by the decorators of a view; OpenAPI is built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from marshmallow import Schema

from app.errors import Problem

View = Callable[..., Any]
_ATTRIBUTE = "_operation_meta"


@dataclass(frozen=True)
class SecurityScheme:
    """A kind of bearer token, and the scope that it needs."""

    name: str
    description: str
    format: str = "JWT"
    scope: str | None = None


@dataclass(frozen=True)
class OperationMeta:
    """Parameters, responses and problems of an operation, besides its arguments."""

    status: int = 200
    schema: Schema | None = None
    has_etag: bool = False
    is_attachment: bool = False
    other_types: Mapping[str, str] = field(default_factory=dict)
    other_responses: Mapping[int, Schema] = field(default_factory=dict)
    problems: tuple[type[Problem], ...] = ()
    tokens: tuple[SecurityScheme, ...] = ()
    accepts_query: bool = False
    accepts_idempotency_key: bool = False
    limit: str | None = None

    @property
    def is_versioned(self) -> bool:
        return self.schema is not None and "version" in self.schema.fields

    @property
    def returns_location(self) -> bool:
        accepted = self.status == HTTPStatus.ACCEPTED and self.schema is not None
        return accepted or self.status == HTTPStatus.CREATED

    @property
    def is_page(self) -> bool:
        return self.schema is not None and "next_cursor" in self.schema.fields


def get_meta(view: View) -> OperationMeta:
    """Return the metadata of a view."""
    meta: OperationMeta = getattr(view, _ATTRIBUTE, OperationMeta())
    return meta


def annotate(view: View, *problems: type[Problem], **changes: Any) -> View:
    """Add to the metadata of ``view``, and return it. ``functools.wraps`` passes it on."""
    meta = get_meta(view)
    setattr(view, _ATTRIBUTE, replace(meta, problems=(*meta.problems, *problems), **changes))
    return view
