"""What is told of an event."""

from marshmallow import fields
from marshmallow_sqlalchemy import auto_field

from app.audit.models import AuditEvent, Event
from app.http.fields import Instant, OneOf
from app.http.output import OutputSchema, page_schema


class AuditEventSchema(OutputSchema):
    """Something that was done to an account, or in its name."""

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

    id = auto_field()
    event = OneOf(Event)
    user_id = auto_field()
    actor_id = auto_field()
    details = fields.Dict()
    ip_address = auto_field()
    user_agent = auto_field()
    request_id = auto_field()
    created_at = Instant()


AUDIT_EVENT = AuditEventSchema()
AUDIT_PAGE = page_schema(AUDIT_EVENT)
