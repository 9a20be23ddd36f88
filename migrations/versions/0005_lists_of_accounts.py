"""Add sort keys for the list of users."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"])
    _collate("C")


def downgrade() -> None:
    _collate("default")
    op.drop_index("ix_users_created_at_id", "users")


def _collate(name: str) -> None:
    """Sort names otherwise; SQLite sorts by code point anyway."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("users", "username_key", type_=sa.String(80, collation=name))
