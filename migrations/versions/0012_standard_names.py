"""Rename tables and columns to standard terms; drop task generations and search vocabulary.

A table is renamed by copying its rows: SQLite can't rename constraints.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
OUTBOX_COLUMNS = {"held_until": "locked_until", "kind": "type"}


def upgrade() -> None:
    _run("0010", "downgrade")
    _run("0009", "downgrade")
    _create_idempotency_records("idempotency_records")
    _move_rows("kept_answers", "idempotency_records")
    _create_email_tokens("email_tokens")
    _move_rows("mailed_tokens", "email_tokens", with_ids=True)
    for old, new in OUTBOX_COLUMNS.items():
        op.execute(f"ALTER TABLE outbox RENAME COLUMN {old} TO {new}")


def downgrade() -> None:
    for old, new in OUTBOX_COLUMNS.items():
        op.execute(f"ALTER TABLE outbox RENAME COLUMN {new} TO {old}")
    _create_email_tokens("mailed_tokens")
    _move_rows("email_tokens", "mailed_tokens", with_ids=True)
    _create_idempotency_records("kept_answers")
    _move_rows("idempotency_records", "kept_answers")
    _run("0009", "upgrade")
    _run("0010", "upgrade")


def _run(revision: str, direction: str) -> None:
    """Run an earlier migration, to drop or to restore what it created."""
    [path] = Path(__file__).parent.glob(f"{revision}_*.py")
    runpy.run_path(str(path))[direction]()


def _create_idempotency_records(name: str) -> None:
    op.create_table(
        name,
        sa.Column("user_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f(f"pk_{name}")),
        _references_user(name),
    )
    op.create_index(f"ix_{name}_user_id_created_at", name, ["user_id", "created_at"])
    op.create_index(f"ix_{name}_created_at", name, ["created_at"])


def _create_email_tokens(name: str) -> None:
    op.create_table(
        name,
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        _references_user(name),
        sa.UniqueConstraint("token_hash", name=op.f(f"uq_{name}_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(f"ix_{name}_user_id_purpose", name, ["user_id", "purpose"])
    op.create_index(f"ix_{name}_expires_at", name, ["expires_at"])


def _references_user(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_user_id")
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=name, ondelete="CASCADE")


def _move_rows(old: str, new: str, *, with_ids: bool = False) -> None:
    """Move all rows, and where ids are generated, the last one: none is used twice."""
    op.execute(f"INSERT INTO {new} SELECT * FROM {old}")  # noqa: S608  # names of this module
    if with_ids:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(
                f"SELECT setval('{new}_id_seq', last_value, is_called) FROM {old}_id_seq"  # noqa: S608
            )
        else:
            op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{new}'")  # noqa: S608
            op.execute(f"UPDATE sqlite_sequence SET name = '{new}' WHERE name = '{old}'")  # noqa: S608
    op.drop_table(old)
