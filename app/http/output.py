"""What goes out: output schemas that are also read column by column."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

from flask import current_app
from flask_marshmallow.sqla import SQLAlchemySchema
from marshmallow import Schema, fields
from sqlalchemy.orm import InstrumentedAttribute

from app.http.context import itself

Row = dict[str, Any]


class ResourceUrl(fields.Field[str]):
    """The absolute address of a resource: ``PUBLIC_URL``, a path, and the row's id."""

    def __init__(self, path: str) -> None:
        super().__init__(dump_only=True, metadata={"type": "string", "format": "uri"})
        self.path = path

    def of(self, row_id: Any) -> str:
        return f"{itself(current_app).config['PUBLIC_URL']}{self.path}{row_id}"

    def serialize(self, attr: str, obj: Any, accessor: Any = None, **kwargs: Any) -> str:
        return self.of(obj["id"] if isinstance(obj, Mapping) else obj.id)


class AlwaysNull(fields.Field[None]):
    """A member that the contract has, and that is null in whatever can be read."""

    def __init__(self, **told: str) -> None:
        # The contract's type, which clients are made from, is that of a value too.
        super().__init__(dump_only=True, metadata={"type": ["string", "null"], **told})

    def serialize(self, attr: str, obj: Any, accessor: Any = None, **kwargs: Any) -> None:
        return None


class Shown(fields.Nested):
    """Another resource within an answer, shown as its own schema shows it."""

    def _serialize(  # type: ignore[override]  # as marshmallow's own Nested overrides its base
        self, nested_obj: Any, attr: Any, obj: Any, **kwargs: Any
    ) -> Row | None:
        schema: Any = self.schema
        row: Row | None = None if nested_obj is None else schema.from_model(nested_obj)
        return row


class OutputSchema(SQLAlchemySchema):
    """What goes out of one model. Lists select just its columns, so no object is built per row."""

    @cached_property
    def _stored(self) -> dict[str, str]:
        return {
            key: field.attribute or key
            for key, field in self.dump_fields.items()
            if hasattr(self.opts.model, field.attribute or key)
        }

    @cached_property
    def _nulls(self) -> tuple[str, ...]:
        return tuple(
            key for key, field in self.dump_fields.items() if isinstance(field, AlwaysNull)
        )

    @cached_property
    def _addresses(self) -> dict[str, ResourceUrl]:
        return {
            key: field for key, field in self.dump_fields.items() if isinstance(field, ResourceUrl)
        }

    def __deepcopy__(self, memo: Any) -> Self:
        """Return itself: flask-smorest copies what it documents, and a schema does not change."""
        return self

    @cached_property
    def columns(self) -> tuple[InstrumentedAttribute[Any], ...]:
        """The columns to select, in the order of ``from_row``."""
        return tuple(getattr(self.opts.model, name) for name in self._stored.values())

    @cached_property
    def _blank(self) -> Row:
        """The members of an answer that tells nothing yet."""
        return dict.fromkeys((*self._stored, *self._nulls, *self._addresses))

    def from_row(self, values: Iterable[Any]) -> Row:
        """Return the members of one answer from the values of ``columns``; others may follow."""
        row = self._blank.copy()
        row.update(zip(self._stored, values, strict=False))
        for key, address in self._addresses.items():
            row[key] = address.of(row["id"])
        return row

    def from_rows(self, found: Sequence[Iterable[Any]]) -> list[Row]:
        """Return the members of several answers, as ``from_row`` does of one.

        They are filled a column at a time, which takes two thirds of what one row after another
        does.
        """
        rows = [self._blank.copy() for _ in found]
        columns = zip(*found, strict=True)
        for key, values in zip(self._stored, columns, strict=False):
            for row, value in zip(rows, values, strict=True):
                row[key] = value
        for key, address in self._addresses.items():
            start = address.of("")
            for row in rows:
                row[key] = f"{start}{row['id']}"
        return rows

    def from_values(self, values: Mapping[str, Any]) -> Row:
        """Return the members of one answer from what was stored, by the names of its columns."""
        return self.from_row([values[name] for name in self._stored.values()])

    def from_model(self, instance: Any) -> Row:
        """Return the members of one answer from an object of the model."""
        return self.from_row([getattr(instance, name) for name in self._stored.values()])


class FaultSchema(Schema):
    """One thing that is not acceptable, placed in the body, the query or a header."""

    pointer = fields.String()
    parameter = fields.String()
    header = fields.String()
    detail = fields.String(required=True)


class ProblemSchema(Schema):
    """What every refusal says (RFC 9457); ``errors`` is there for 422 only."""

    type = fields.String(required=True, metadata={"format": "uri"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FaultSchema))
    field = fields.String()
    scope = fields.String()
    challenge = fields.String()
    operation = fields.Integer()
    parts = fields.Dict(keys=fields.String(), values=fields.String())


PROBLEM = ProblemSchema()


def page_schema(item: OutputSchema) -> Schema:
    """Return what a list of ``item`` looks like."""
    return Schema.from_dict(
        {
            "data": fields.List(fields.Nested(item), required=True),
            "next_cursor": fields.String(required=True, allow_none=True),
        },
        name=f"{type(item).__name__.removesuffix('Schema')}Page",
    )()
