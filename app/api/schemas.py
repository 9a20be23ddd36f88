"""Base of response schemas, and the schemas of problems."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property, lru_cache, partial
from typing import Any, Self

from flask import current_app, url_for
from marshmallow import fields, missing, post_load

from app.api.fields import AwareDateTime, QueryInteger, format_datetime
from app.db.types import MAX_ID
from app.extensions import ma


class ResourceURL(fields.Field[str]):
    """The absolute URL of a resource: that of its endpoint, with the resource's id."""

    def __init__(self, endpoint: str, id_name: str, **kwargs: Any) -> None:
        metadata = {"type": "string", "format": "uri"}
        super().__init__(dump_only=True, metadata=metadata, **kwargs)
        self.endpoint = endpoint
        self.id_name = id_name

    def serialize(self, attr: str, obj: Any, accessor: Any = None, **kwargs: Any) -> str | None:
        row_id = obj["id"] if isinstance(obj, Mapping) else obj.id
        before, after = _url_parts(current_app.config["PUBLIC_URL"], self.endpoint, self.id_name)
        return f"{before}{row_id}{after}"


@lru_cache(maxsize=64)
def _url_parts(public_url: str, endpoint: str, id_name: str) -> tuple[str, str]:
    values: dict[str, Any] = {id_name: MAX_ID}
    # Building a URL takes longer than reading the row that it is for.
    before, _, after = url_for(endpoint, _external=False, **values).partition(str(MAX_ID))
    return f"{public_url}{before}", after


class ResponseSchema(ma.SQLAlchemySchema):
    """A schema of responses that dumps rows as fast as orjson can serialize them.

    marshmallow's own ``dump`` takes 690 µs for 50 tasks, which is longer than all the rest of the
    request. Values of columns need no conversion here: rows are read JSON-ready, and orjson
    serializes the datetimes and dates of models.
    """

    @cached_property
    def _members(self) -> list[tuple[str, str, fields.Field[Any] | None]]:
        """The name, the attribute and, if it is not a plain column, the field of each member."""
        computed = (fields.Constant, fields.Nested, ResourceURL)
        return [
            (name, field.attribute or name, field if isinstance(field, computed) else None)
            for name, field in self.dump_fields.items()
        ]

    @cached_property
    def _datetimes(self) -> list[str]:
        return [name for name, field in self.dump_fields.items() if type(field) is AwareDateTime]

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Serialize a model or a row, or several."""
        if self.many if many is None else many:
            return [self._dump(each) for each in obj]
        return self._dump(obj)

    def _dump(self, obj: Any) -> dict[str, Any]:
        value_of = obj.__getitem__ if isinstance(obj, Mapping) else partial(getattr, obj)
        row = {
            name: field.serialize(name, obj) if field else value_of(attribute)
            for name, attribute, field in self._members
        }
        for name in self._datetimes:
            value = row[name]
            # orjson leaves out microseconds that are zero.
            if isinstance(value, datetime) and not value.microsecond:
                row[name] = format_datetime(value)
        return row

    def __deepcopy__(self, memo: Any) -> Self:
        """Return ``self``: flask-smorest copies what it documents, and a schema does not change."""
        return self


class Embedded(fields.Nested):
    """A nested object made of values of its parent."""

    def serialize(self, attr: str, obj: Any, accessor: Any = None, **kwargs: Any) -> Any:
        return self.schema.dump(obj)


class PaginationSchema(ma.Schema):
    """The query parameters of every list."""

    limit = QueryInteger(minimum=1, maximum=200, load_default=50)
    cursor = fields.String(load_default=None)


class FilteredListSchema(PaginationSchema):
    """The query parameters of a list with filters: those without a default, if present."""

    @post_load
    def _group_filters(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        params = {
            name: data.pop(name)
            for name, field in self.fields.items()
            if field.load_default is not missing
        }
        return params | {"filters": data}


def page_of(item: type[ma.Schema]) -> type[ma.Schema]:
    """Return the schema of a page of a list, named after the schema of its items."""
    members = {
        "data": fields.Nested(item, many=True, required=True, attribute="rows"),
        "next_cursor": fields.String(required=True, allow_none=True),
    }
    page: type[ma.Schema] = ma.Schema.from_dict(
        members, name=item.__name__.replace("Schema", "PageSchema")
    )
    return page


class FieldErrorSchema(ma.Schema):
    """An error in the body, the query or a header."""

    pointer = fields.String()
    parameter = fields.String()
    header = fields.String()
    detail = fields.String(required=True)


class ProblemSchema(ma.Schema):
    """Problem details (RFC 9457). ``errors`` is present for 422 only."""

    type = fields.String(required=True, metadata={"format": "uri"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True, metadata={"format": "uri-reference"})
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldErrorSchema))
    field = fields.String()
    scope = fields.String()
    challenge = fields.String()
    operation = fields.Integer()
    parts = fields.Dict(keys=fields.String(), values=fields.String())
