"""Add email preferences, reminders and indexes for retention."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
AWAITED = sa.text("remind_at IS NOT NULL")
# What is purged is found by its age.
AGES = (("sessions", "expires_at"), ("sessions", "refreshed_at"), ("kept_answers", "created_at"))
# The first run after this finds each owner's zone, and puts days off to their morning.
REMIND = """
    UPDATE tasks SET remind_at = CASE WHEN due_at IS NULL THEN :now ELSE due_at END
    WHERE due_key > :now AND status NOT IN ('completed', 'cancelled')
"""


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("notify_on_create", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "users",
        sa.Column("notify_when_due", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.add_column("tasks", sa.Column("remind_at", INSTANT, nullable=True))
    op.create_index(
        "ix_tasks_remind_at",
        "tasks",
        ["remind_at"],
        sqlite_where=AWAITED,
        postgresql_where=AWAITED,
    )
    now = sa.bindparam("now", datetime.now(UTC), INSTANT)
    op.execute(sa.text(REMIND).bindparams(now))
    for table, column in AGES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table, column in AGES:
        op.drop_index(f"ix_{table}_{column}", table)
    op.drop_index("ix_tasks_remind_at", "tasks")
    op.drop_column("tasks", "remind_at")
    op.drop_column("users", "notify_when_due")
    op.drop_column("users", "notify_on_create")
