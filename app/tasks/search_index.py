"""Full-text search of tasks: its condition, and its index on SQLite.

SQLite has an FTS5 table, kept up to date by triggers; PostgreSQL a GIN index that the model
declares.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Dialect, Table, Text, bindparam
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.db.ddl import attach_ddl
from app.tasks.search import fts5_query, tsquery

# Each ASCII sign is part of a token: words are separated by white space alone.
_TOKEN_SIGNS = "".join(
    sign for sign in map(chr, range(1, 128)) if not (sign.isalnum() or sign.isspace())
)
_TOKENIZER = "ascii tokenchars '{}'".format(_TOKEN_SIGNS.replace("'", "''")).replace("'", "''")
# The index stores no text: it reads the column of the table.
_CREATE_INDEX = f"""
CREATE VIRTUAL TABLE tasks_search USING fts5 (
    search_words, content = 'tasks', content_rowid = 'id', detail = none, columnsize = 0,
    tokenize = '{_TOKENIZER}'
)
"""
_ADD = "INSERT INTO tasks_search (rowid, search_words) VALUES (NEW.id, NEW.search_words);"
_REMOVE = """
INSERT INTO tasks_search (tasks_search, rowid, search_words)
VALUES ('delete', OLD.id, OLD.search_words);
"""
_TRIGGERS = (
    f"CREATE TRIGGER tasks_search_insert AFTER INSERT ON tasks BEGIN {_ADD} END",
    f"""
    CREATE TRIGGER tasks_search_update AFTER UPDATE OF search_words ON tasks
    WHEN OLD.search_words <> NEW.search_words BEGIN {_REMOVE} {_ADD} END
    """,
    f"CREATE TRIGGER tasks_search_delete AFTER DELETE ON tasks BEGIN {_REMOVE} END",
)


def attach_search_index(tasks: Table) -> None:
    """Create the index and its triggers with the table of tasks."""
    attach_ddl(
        tasks, "sqlite", create=(_CREATE_INDEX, *_TRIGGERS), drop=("DROP TABLE tasks_search",)
    )


class SearchQuery(TypeDecorator[Collection[str]]):
    """Search words, bound as a query in the syntax of the database."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return TSQUERY() if dialect.name == "postgresql" else self.impl_instance

    def process_bind_param(self, value: Collection[str] | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return tsquery(value) if dialect.name == "postgresql" else fts5_query(value)


class TaskMatches(FunctionElement[Any]):
    """Condition: ``words`` contain all words of the parameter ``name``.

    It has no Boolean type: SQLite would compare it with 1, and not use the index.
    """

    inherit_cache = True

    def __init__(self, row_id: Any, words: Any, name: str) -> None:
        super().__init__(row_id, words, bindparam(name, type_=SearchQuery))


@compiles(TaskMatches, "postgresql")
def _compile_postgresql(element: TaskMatches, compiler: SQLCompiler, **kwargs: Any) -> str:
    _, words, query = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{words} @@ {query}::tsquery"


@compiles(TaskMatches, "sqlite")
def _compile_sqlite(element: TaskMatches, compiler: SQLCompiler, **kwargs: Any) -> str:
    row_id, _, query = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{row_id} IN (SELECT rowid FROM tasks_search WHERE tasks_search MATCH {query})"  # noqa: S608  # bound
