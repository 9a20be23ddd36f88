"""How a database goes about what it is asked."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from flask import Flask
from sqlalchemy import delete, table, text

from app.extensions import db
from tests.watching import watched


def analyse() -> None:
    """Have the planner know the tables as they are, for every connection."""
    with db.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
    # SQLite's connections go by what they read of it when they were opened.
    db.engine.dispose()


def forget_analysis() -> None:
    """Have SQLite's planner know nothing again, as of a table that was never analysed."""
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
    """Collect how the database goes about each statement with such a part."""
    with app.app_context():
        engine = db.engine
    found = []

    def explain(connection, statement, parameters):
        if part not in statement:
            return
        command = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"{command} {statement}", parameters)
            found.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    with watched(app, explain):
        yield found
