"""What the decorators of a view promise, noted as they are applied: the document is made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from marshmallow import Schema

from app.errors import Problem

View = Callable[..., Any]
NOTE = "_promise"
# Where flask-smorest notes what it documents of a view.
DOCUMENTED = "_apidoc"


@dataclass(frozen=True)
class SecurityScheme:
    """A kind of bearer token, as clients know it, and the scope that one must have."""

    name: str
    description: str
    format: str = "JWT"
    scope: str | None = None


@dataclass(frozen=True)
class Promise:
    """What a view gives, what it refuses with, and what it takes beside its arguments."""

    status: int = 200
    schema: Schema | None = None
    tagged: bool = False
    attached: bool = False
    other_types: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[type[Problem], ...] = ()
    tokens: tuple[SecurityScheme, ...] = ()
    takes_key: bool = False
    limit: str | None = None

    @property
    def versioned(self) -> bool:
        return self.schema is not None and "version" in self.schema.fields

    @property
    def makes(self) -> bool:
        """Tell whether there is something new after it, which has an address."""
        accepted = self.status == HTTPStatus.ACCEPTED and self.schema is not None
        return accepted or self.status == HTTPStatus.CREATED

    @property
    def paged(self) -> bool:
        return self.schema is not None and "next_cursor" in self.schema.fields


def promised(view: View) -> Promise:
    """Return what the decorators of ``view`` promise."""
    held: Promise = getattr(view, NOTE, Promise())
    return held


def promise(view: View, *problems: type[Problem], **more: Any) -> View:
    """Add to what ``view`` promises, and return it; ``wraps`` hands it on."""
    held = promised(view)
    setattr(view, NOTE, replace(held, problems=(*held.problems, *problems), **more))
    return view
