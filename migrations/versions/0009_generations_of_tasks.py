"""Add a generation number of each user's tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# What an answer may show; reminders and what is searched by are not among it.
SHOWN = (
    "title, description, status, priority, due_date, due_at, time_zone, position, version,"
    " created_by, created_at, updated_at, completed_at"
)

# By the clock, in microseconds, and always on: after a return to a backup, or to a replica that
# lagged, no number is given a second time, so no answer that is remembered is taken for another.
CLOCK = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "(extract(epoch FROM now()) * 1000000)::bigint",
}
SQLITE = {
    "insert": (
        "AFTER INSERT ON tasks",
        """
        INSERT INTO task_generations (user_id, generation) VALUES (NEW.created_by, {clock})
        ON CONFLICT (user_id) DO UPDATE SET generation = max(generation + 1, excluded.generation);
        """,
    ),
    "update": (
        f"AFTER UPDATE OF {SHOWN} ON tasks",
        """
        UPDATE task_generations SET generation = max(generation + 1, {clock})
        WHERE user_id = NEW.created_by;
        """,
    ),
    "delete": (
        "AFTER DELETE ON tasks",
        """
        UPDATE task_generations SET generation = max(generation + 1, {clock})
        WHERE user_id = OLD.created_by;
        """,
    ),
}
# Rows come and go by thousands in one statement, which would write one row as often; they change
# one at a time.
POSTGRESQL = {
    "insert": (
        "AFTER INSERT ON tasks REFERENCING NEW TABLE AS made FOR EACH STATEMENT",
        """
        INSERT INTO task_generations AS held (user_id, generation)
        SELECT DISTINCT created_by, {clock} FROM made ORDER BY created_by
        ON CONFLICT (user_id)
        DO UPDATE SET generation = greatest(held.generation + 1, excluded.generation);
        """,
    ),
    "update": (
        f"AFTER UPDATE OF {SHOWN} ON tasks FOR EACH ROW",
        """
        UPDATE task_generations SET generation = greatest(generation + 1, {clock})
        WHERE user_id = NEW.created_by;
        """,
    ),
    "delete": (
        "AFTER DELETE ON tasks REFERENCING OLD TABLE AS gone FOR EACH STATEMENT",
        """
        UPDATE task_generations SET generation = greatest(generation + 1, {clock})
        WHERE user_id IN (SELECT created_by FROM gone);
        """,
    ),
}


def upgrade() -> None:
    op.create_table(
        "task_generations",
        sa.Column("user_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_task_generations")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_task_generations_user_id"), ondelete="CASCADE"
        ),
    )
    create_triggers(op.get_bind().dialect.name)
    # With the triggers in place, PostgreSQL lets nobody write before all this is committed.
    op.execute(
        "INSERT INTO task_generations (user_id, generation) SELECT id, 1 FROM users"
        " WHERE EXISTS (SELECT 1 FROM tasks WHERE created_by = users.id)"
    )


def create_triggers(dialect: str) -> None:
    with_functions = dialect == "postgresql"
    for event, (when, body) in (POSTGRESQL if with_functions else SQLITE).items():
        name, does = f"tasks_generation_{event}", f"BEGIN {body.format(clock=CLOCK[dialect])}"
        if with_functions:
            op.execute(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ {does} RETURN NULL; END $$"
            )
            does = f"EXECUTE FUNCTION {name}()"
        else:
            does += "END"
        op.execute(f"CREATE TRIGGER {name} {when} {does}")


def downgrade() -> None:
    with_functions = op.get_bind().dialect.name == "postgresql"
    for event in SQLITE:
        name = f"tasks_generation_{event}"
        op.execute(f"DROP TRIGGER {name} ON tasks" if with_functions else f"DROP TRIGGER {name}")
        if with_functions:
            op.execute(f"DROP FUNCTION {name}()")
    op.drop_table("task_generations")
