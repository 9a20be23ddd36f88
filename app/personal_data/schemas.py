"""What is in an export."""

from flask_marshmallow import Schema
from marshmallow import fields

from app.audit.schemas import AuditEventSchema
from app.auth.models import MailedToken, MailPurpose
from app.auth.schemas import PersonalTokenSchema, SessionSchema, UserSchema
from app.http.fields import Instant, OneOf
from app.http.output import OutputSchema
from app.jobs.schemas import JobSchema
from app.tasks.schemas import TaskSchema


class SecondFactorStateSchema(Schema):
    """Whether a second factor is in force, and how many recovery codes stand in for it."""

    class Meta:
        example = {"enabled": True, "recovery_codes_left": 10}

    enabled = fields.Boolean(required=True)
    recovery_codes_left = fields.Integer(required=True)


class MailedTokenSchema(OutputSchema):
    """What a token that was mailed is for, and where it went; the token itself is not kept."""

    class Meta:
        model = MailedToken
        example = {
            "purpose": "verify_email",
            "email": "ada@example.com",
            "created_at": "2026-11-21T09:00:00.000000Z",
            "expires_at": "2026-11-21T10:00:00.000000Z",
        }

    purpose = OneOf(MailPurpose)
    email = fields.String()
    created_at = Instant()
    expires_at = Instant()


class ExportSchema(Schema):
    """All that is kept of an account, but for what can't be told: hashes and secrets."""

    class Meta:
        example = {"exported_at": "2026-11-21T09:00:00.000000Z"}

    exported_at = Instant(required=True)
    account = fields.Nested(UserSchema, required=True)
    second_factor = fields.Nested(SecondFactorStateSchema, required=True)
    sessions = fields.List(fields.Nested(SessionSchema), required=True)
    personal_tokens = fields.List(fields.Nested(PersonalTokenSchema), required=True)
    mailed_tokens = fields.List(fields.Nested(MailedTokenSchema), required=True)
    jobs = fields.List(fields.Nested(JobSchema), required=True)
    tasks = fields.List(fields.Nested(TaskSchema), required=True)
    audit_events = fields.List(fields.Nested(AuditEventSchema), required=True)


MAILED_TOKEN = MailedTokenSchema()
EXPORT = ExportSchema()
