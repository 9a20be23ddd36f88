"""Drop the id from SQLite's list indexes.

Each of its indexes ends with the id in any case. Where it is named as a column, a comparison of
(key, id) goes by the key alone.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LISTS = [
    *(
        ("tasks", ["created_by", key])
        for key in ("created_at", "updated_at", "due_key", "priority", "title_key", "position")
    ),
    ("users", ["created_at"]),
    ("personal_tokens", ["user_id", "created_at"]),
    ("audit_events", ["user_id", "created_at"]),
    ("jobs", ["user_id", "created_at"]),
]


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table, columns in LISTS:
            op.drop_index(_name(table, [*columns, "id"]), table)
            op.create_index(_name(table, columns), table, columns)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table, columns in LISTS:
            op.drop_index(_name(table, columns), table)
            op.create_index(_name(table, [*columns, "id"]), table, [*columns, "id"])


def _name(table: str, columns: list[str]) -> str:
    return f"ix_{table}_{'_'.join(columns)}"
