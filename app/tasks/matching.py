"""What either database makes of a search: conditions for one row, and for an index."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Text, bindparam, select
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.extensions import db
from app.statements import Query
from app.tasks.models import Task
from app.tasks.search import fts5_words, pattern, tsquery

Asked = Collection[str]


class _Asked(TypeDecorator[Asked]):
    """Words that are asked for, as PostgreSQL is asked."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return TSQUERY() if dialect.name == "postgresql" else self.impl_instance

    def process_bind_param(self, value: Asked | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return tsquery(value) if dialect.name == "postgresql" else self.for_sqlite(value)

    def for_sqlite(self, value: Asked) -> str:
        raise NotImplementedError


class _AskedOfRow(_Asked):
    cache_ok = True

    def for_sqlite(self, value: Asked) -> str:
        return pattern(value)


class _AskedOfIndex(_Asked):
    cache_ok = True

    def for_sqlite(self, value: Asked) -> str:
        return str(value)


class _Holds(FunctionElement[Any]):
    """A condition; without a type, or SQLite compares it with 1 and uses no index."""

    inherit_cache = True


class _IsFound(_Holds):
    inherit_cache = True


class _IsAmong(_IsFound):
    inherit_cache = True


class _Fts5Query(FunctionElement[str]):
    type = Text()
    inherit_cache = True


FTS5_QUERY = Query(select(_Fts5Query(bindparam("words", type_=Text))))


def holds(name: str) -> ColumnElement[Any]:
    """Whether a row has each of the words that the parameter ``name`` gives."""
    return _Holds(Task.id, Task.search_words, bindparam(name, type_=_AskedOfRow))


def is_found(name: str) -> ColumnElement[Any]:
    """The same, for rows that the index finds; it is given the words ``as_asked``."""
    return _IsFound(Task.id, Task.search_words, bindparam(name, type_=_AskedOfIndex))


def as_asked(words: Sequence[str]) -> Asked:
    """Return what an index is asked for words by.

    SQLite finds whole words several times as fast as a beginning: where its index has few words
    that begin alike, it is asked for those. A task that comes meanwhile is for the next who asks.
    """
    if db.engine.dialect.name != "sqlite":
        return words
    [[query]] = FTS5_QUERY.all({"words": fts5_words(words)})
    return str(query)


def is_among(name: str) -> ColumnElement[Any]:
    """The same, for rows that are read in another order, and looked up among those."""
    return _IsAmong(Task.id, Task.search_words, bindparam(name, type_=_AskedOfIndex))


@compiles(_Holds, "postgresql")
def _ask_row_of_postgresql(element: _Holds, compiler: SQLCompiler, **kwargs: Any) -> str:
    # Its index is for one word; IS TRUE keeps it from gathering frequent ones as well.
    return f"({_ask_postgresql(element, compiler, **kwargs)} IS TRUE)"


@compiles(_IsFound, "postgresql")
def _ask_postgresql(element: _Holds, compiler: SQLCompiler, **kwargs: Any) -> str:
    _, words, asked = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"({words} @@ {asked}::tsquery)"


@compiles(_Holds, "sqlite")
def _ask_row_of_sqlite(element: _Holds, compiler: SQLCompiler, **kwargs: Any) -> str:
    _, words, asked = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"({words} LIKE {asked} ESCAPE '!')"


_FTS5_QUERY = """
SELECT group_concat('("' || replace(json_extract(word.value, '$[0]'), '"', '""') || '"' || (
    SELECT CASE
        WHEN count(*) <= 20
        THEN coalesce(group_concat(' OR "' || replace(term, '"', '""') || '"', ''), '')
        ELSE '*'
    END
    FROM (
        SELECT term FROM tasks_search_terms
        WHERE term >= json_extract(word.value, '$[0]') || char(1)
            AND term < json_extract(word.value, '$[1]')
        LIMIT 21
    )
) || ')', ' AND ')
FROM json_each({}) AS word
"""


@compiles(_Fts5Query, "sqlite")
def _look_up_terms(element: _Fts5Query, compiler: SQLCompiler, **kwargs: Any) -> str:
    # The word itself is passed by: each of its tasks would be counted.
    return f"({_FTS5_QUERY.format(compiler.process(element.clauses, **kwargs))})"


@compiles(_IsFound, "sqlite")
def _ask_fts5(element: _IsFound, compiler: SQLCompiler, **kwargs: Any) -> str:
    row_id, _, asked = (compiler.process(clause, **kwargs) for clause in element.clauses)
    found = f"SELECT rowid FROM tasks_search WHERE tasks_search MATCH {asked}"  # noqa: S608
    return f"({row_id} IN ({found}))"


@compiles(_IsAmong, "sqlite")
def _ask_fts5_first(element: _IsAmong, compiler: SQLCompiler, **kwargs: Any) -> str:
    # An expression is not looked up in the order of the ids.
    return f"(+{_ask_fts5(element, compiler, **kwargs)[1:]}"
