"""Full-text condition for lists of tasks."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Dialect, Text, bindparam
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.tasks.models import Task
from app.tasks.search import fts5_query, tsquery


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
    """Condition: a task contains all words of the parameter ``name``.

    It has no Boolean type: SQLite would compare it with 1, and not use the index.
    """

    inherit_cache = True

    def __init__(self, name: str) -> None:
        super().__init__(Task.id, Task.search_words, bindparam(name, type_=SearchQuery))


@compiles(TaskMatches, "postgresql")
def _compile_postgresql(element: TaskMatches, compiler: SQLCompiler, **kwargs: Any) -> str:
    _, words, query = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{words} @@ {query}::tsquery"


@compiles(TaskMatches, "sqlite")
def _compile_sqlite(element: TaskMatches, compiler: SQLCompiler, **kwargs: Any) -> str:
    row_id, _, query = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{row_id} IN (SELECT rowid FROM tasks_search WHERE tasks_search MATCH {query})"  # noqa: S608  # bound
