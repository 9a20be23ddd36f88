"""Schemas of the data export."""

from marshmallow import fields

from app.api.fields import AwareDateTime, Enum
from app.api.schemas import ResponseSchema
from app.audit.schemas import AuditEventSchema
from app.auth.models import EmailToken, EmailTokenPurpose
from app.auth.schemas import PersonalTokenSchema, SessionSchema, UserSchema
from app.extensions import ma
from app.jobs.schemas import JobSchema
from app.tasks.schemas import TaskSchema


class SecondFactorStateSchema(ma.Schema):
    """State of the second factor, and the number of unused recovery codes."""

    class Meta:
        example = {"enabled": True, "recovery_codes_left": 10}

    enabled = fields.Boolean(required=True)
    recovery_codes_left = fields.Integer(required=True)


class EmailTokenSchema(ResponseSchema):
    """The purpose and address of an email token; the token itself is not stored."""

    class Meta:
        model = EmailToken
        example = {
            "purpose": "verify_email",
            "email": "ada@example.com",
            "created_at": "2026-11-21T09:00:00.000000Z",
            "expires_at": "2026-11-21T10:00:00.000000Z",
        }

    purpose = Enum(EmailTokenPurpose)
    email = fields.String()
    created_at = AwareDateTime()
    expires_at = AwareDateTime()


class ExportSchema(ma.Schema):
    """All data stored about a user, except hashes and secrets."""

    class Meta:
        example = {"exported_at": "2026-11-21T09:00:00.000000Z"}

    exported_at = AwareDateTime(required=True)
    account = fields.Nested(UserSchema, required=True)
    second_factor = fields.Nested(SecondFactorStateSchema, required=True)
    sessions = fields.List(fields.Nested(SessionSchema), required=True)
    personal_tokens = fields.List(fields.Nested(PersonalTokenSchema), required=True)
    mailed_tokens = fields.List(fields.Nested(EmailTokenSchema), required=True)
    jobs = fields.List(fields.Nested(JobSchema), required=True)
    tasks = fields.List(fields.Nested(TaskSchema), required=True)
    audit_events = fields.List(fields.Nested(AuditEventSchema), required=True)
