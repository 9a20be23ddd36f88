"""Schemas of the audit log."""

from marshmallow import fields

from app.api.fields import AwareDateTime, Enum
from app.api.schemas import ResponseSchema, page_of
from app.audit.models import AuditEvent, Event
from app.extensions import ma


class AuditEventSchema(ResponseSchema):
    """Something that was done to a user, or by it."""

    class Meta:
        model = AuditEvent
        example = {
            "id": 31,
            "event": "login_succeeded",
            "user_id": 1,
            "actor_id": 1,
            "details": {},
            "ip_address": "192.0.2.7",
            "user_agent": "curl/8.5.0",
            "request_id": "5f0c2a9b8e7d4c61a3f2b1d09e8c7a65",
            "created_at": "2026-11-21T09:00:00.000000Z",
        }

    id = ma.auto_field()
    event = Enum(Event)
    user_id = ma.auto_field()
    actor_id = ma.auto_field()
    details = fields.Dict()
    ip_address = ma.auto_field()
    user_agent = ma.auto_field()
    request_id = ma.auto_field()
    created_at = AwareDateTime()


AuditEventPageSchema = page_of(AuditEventSchema)
