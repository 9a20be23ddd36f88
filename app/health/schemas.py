"""What is told of the service's health."""

from flask_marshmallow import Schema
from marshmallow import fields


class PongSchema(Schema):
    class Meta:
        example = {"message": "pong"}

    message = fields.String(required=True)


class LivenessSchema(Schema):
    class Meta:
        example = {"status": "ok"}

    status = fields.String(required=True)


class ReadinessSchema(LivenessSchema):
    """Whether the service can do its work, and each part that it needs for it."""

    class Meta:
        example = {"parts": {"database": "ok", "migrations": "ok"}}

    parts = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


PONG = PongSchema()
LIVENESS = LivenessSchema()
READINESS = ReadinessSchema()
