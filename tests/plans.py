"""Query plans."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from flask import Flask
from sqlalchemy import delete, table, text

from app.extensions import db
from tests.recorders import listen_to_statements


def analyse() -> None:
    """Update the planner's statistics for all connections."""
    with db.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
    # SQLite reads the statistics when a connection is opened.
    db.engine.dispose()


def forget_analysis() -> None:
    """Delete SQLite's statistics, as if no table had been analyzed."""
    if db.engine.dialect.name != "sqlite":
        return
    with db.engine.begin() as connection:
        known = text("SELECT name FROM sqlite_schema WHERE name GLOB 'sqlite_stat[0-9]'")
        tables = connection.execute(known).scalars().all()
        rows = sum(connection.execute(delete(table(name))).rowcount for name in tables)
    if rows:
        db.engine.dispose()


@contextmanager
def plans(app: Flask, part: str = "FROM tasks") -> Iterator[list[str]]:
    """Record the plan of each statement that contains ``part``."""
    with app.app_context():
        engine = db.engine
    recorded = []

    def explain(connection, statement, parameters):
        if part not in statement:
            return
        command = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"{command} {statement}", parameters)
            recorded.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    with listen_to_statements(app, explain):
        yield recorded
