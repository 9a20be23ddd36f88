"""Schemas of the health endpoints."""

from marshmallow import fields

from app.extensions import ma


class PongSchema(ma.Schema):
    class Meta:
        example = {"message": "pong"}

    message = fields.String(required=True)


class LivenessSchema(ma.Schema):
    class Meta:
        example = {"status": "ok"}

    status = fields.String(required=True)


class ReadinessSchema(LivenessSchema):
    """The state of the service and of each dependency."""

    class Meta:
        example = {"parts": {"database": "ok", "migrations": "ok", "outbox": "ok"}}

    parts = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
