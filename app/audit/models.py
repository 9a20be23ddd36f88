"""Model of the append-only audit log."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Model
from app.db.ddl import attach_ddl, keyset_index
from app.db.types import BigIntId


class Event(StrEnum):
    """The type of an audit event."""

    account_registered = "account_registered"
    account_changed = "account_changed"
    account_disabled = "account_disabled"
    account_enabled = "account_enabled"
    account_deleted = "account_deleted"
    role_changed = "role_changed"
    login_succeeded = "login_succeeded"
    login_failed = "login_failed"
    reauthentication_failed = "reauthentication_failed"
    token_reused = "token_reused"  # noqa: S105  # an event, not a secret
    session_ended = "session_ended"
    other_sessions_ended = "other_sessions_ended"
    password_changed = "password_changed"  # noqa: S105
    password_reset_requested = "password_reset_requested"  # noqa: S105
    password_reset = "password_reset"  # noqa: S105
    email_change_requested = "email_change_requested"
    email_changed = "email_changed"
    email_verified = "email_verified"
    personal_token_created = "personal_token_created"  # noqa: S105
    personal_token_deleted = "personal_token_deleted"  # noqa: S105
    second_factor_enabled = "second_factor_enabled"
    second_factor_removed = "second_factor_removed"
    second_factor_failed = "second_factor_failed"
    recovery_code_used = "recovery_code_used"
    data_exported = "data_exported"
    task_deleted = "task_deleted"


class AuditEvent(Model):
    """Something that was done to a user or by it; kept after the user is deleted."""

    __tablename__ = "audit_events"
    __table_args__ = (
        *keyset_index("audit_events", "user_id", "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigIntId, primary_key=True)
    event: Mapped[str] = mapped_column(String(30))
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(255))
    request_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(index=True)


# Recorded events never change; retention only deletes them.
SQLITE_TRIGGER = """
    CREATE TRIGGER audit_events_stay BEFORE UPDATE ON audit_events
    BEGIN SELECT RAISE(ABORT, 'audit_events are not changed'); END
"""
POSTGRESQL_FUNCTION = """
    CREATE FUNCTION audit_events_stay() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'audit_events are not changed'; END $$
"""
POSTGRESQL_TRIGGER = """
    CREATE TRIGGER audit_events_stay BEFORE UPDATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_stay()
"""
_table = AuditEvent.metadata.tables["audit_events"]
attach_ddl(_table, "sqlite", create=[SQLITE_TRIGGER])
_create = [POSTGRESQL_FUNCTION, POSTGRESQL_TRIGGER]
attach_ddl(_table, "postgresql", create=_create, drop=["DROP FUNCTION audit_events_stay()"])
