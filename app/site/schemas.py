"""What the document looks like to a program."""

from flask_marshmallow import Schema
from marshmallow import INCLUDE, fields


class DocumentSchema(Schema):
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


DOCUMENT = DocumentSchema()
