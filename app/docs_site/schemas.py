"""Schema of the OpenAPI document."""

from marshmallow import INCLUDE, fields

from app.extensions import ma


class SpecSchema(ma.Schema):
    """An OpenAPI 3.1 document."""

    class Meta:
        unknown = INCLUDE
        example = {
            "openapi": "3.1.0",
            "info": {"title": "Task API", "version": "1.0.0"},
            "paths": {},
        }

    openapi = fields.String(required=True)
    info = fields.Dict(required=True)
    paths = fields.Dict(required=True)
