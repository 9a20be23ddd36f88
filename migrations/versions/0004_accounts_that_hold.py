"""Add personal tokens, second factors, email tokens, disabled users and audit events."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("disabled_at", INSTANT, nullable=True))
    op.create_table(
        "personal_tokens",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("scopes", sa.String(255), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("last_used_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personal_tokens")),
        *_of_user("personal_tokens"),
        sa.UniqueConstraint("token_hash", name=op.f("uq_personal_tokens_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_personal_tokens_user_id_created_at_id",
        "personal_tokens",
        ["user_id", "created_at", "id"],
    )
    op.create_table(
        "mailed_tokens",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailed_tokens")),
        *_of_user("mailed_tokens"),
        sa.UniqueConstraint("token_hash", name=op.f("uq_mailed_tokens_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mailed_tokens_user_id_purpose", "mailed_tokens", ["user_id", "purpose"])
    op.create_index("ix_mailed_tokens_expires_at", "mailed_tokens", ["expires_at"])
    op.create_table(
        "second_factors",
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("secret", sa.LargeBinary(255), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("wrong_codes", sa.BigInteger(), nullable=False),
        sa.Column("locked_until", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("confirmed_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factors")),
        *_of_user("second_factors"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("code_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name=op.f("pk_recovery_codes")),
        *_of_user("recovery_codes"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_due_at_id", "outbox", ["due_at", "id"])
    op.create_table(
        "audit_events",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("event", sa.String(30), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("ip_address", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.String(255), nullable=True),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_audit_events_user_id_created_at_id", "audit_events", ["user_id", "created_at", "id"]
    )
    op.create_index("ix_audit_events_created_at", "audit_events", ["created_at"])
    for statement in REFUSE_CHANGES[op.get_bind().dialect.name]:
        op.execute(statement)


# What happened does not change afterwards; rows only go, by their age.
REFUSE_CHANGES = {
    "sqlite": [
        (
            "CREATE TRIGGER audit_events_stay BEFORE UPDATE ON audit_events "
            "BEGIN SELECT RAISE(ABORT, 'audit_events are not changed'); END"
        ),
    ],
    "postgresql": [
        (
            "CREATE FUNCTION audit_events_stay() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'audit_events are not changed'; END $$"
        ),
        (
            "CREATE TRIGGER audit_events_stay BEFORE UPDATE ON audit_events "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_events_stay()"
        ),
    ],
}


def _of_user(table: str) -> list[sa.ForeignKeyConstraint]:
    name = op.f(f"fk_{table}_user_id")
    return [sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=name, ondelete="CASCADE")]


def downgrade() -> None:
    op.drop_table("audit_events")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_events_stay()")
    for table in ("outbox", "recovery_codes", "second_factors", "mailed_tokens", "personal_tokens"):
        op.drop_table(table)
    op.drop_column("users", "disabled_at")
