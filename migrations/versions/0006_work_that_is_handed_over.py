"""Add the origin, lease and failure of outbox messages."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
COLUMNS = {
    "origin": sa.JSON(),
    "held_until": INSTANT,
    "failed_at": INSTANT,
    "error": sa.String(100),
}
WAITING = sa.text("failed_at IS NULL")


def upgrade() -> None:
    for name, type_ in COLUMNS.items():
        op.add_column("outbox", sa.Column(name, type_, nullable=True))
    op.drop_index("ix_outbox_due_at_id", "outbox")
    op.create_index(
        "ix_outbox_due_at_id",
        "outbox",
        ["due_at", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE failed_at IS NOT NULL")
    op.drop_index("ix_outbox_due_at_id", "outbox")
    for name in COLUMNS:
        op.drop_column("outbox", name)
    op.create_index("ix_outbox_due_at_id", "outbox", ["due_at", "id"])
