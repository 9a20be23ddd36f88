"""What either database makes of a search: conditions for one row, and for an index."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Text, bindparam
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.http.searching import COUNTED_WORDS
from app.tasks.models import Task
from app.tasks.search import fts5_words, pattern, tsquery


class _Asked(TypeDecorator[Collection[str]]):
    """Words that are asked for, as PostgreSQL is asked."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return TSQUERY() if dialect.name == "postgresql" else self.impl_instance

    def process_bind_param(self, value: Collection[str] | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return tsquery(value) if dialect.name == "postgresql" else self.for_sqlite(value)

    def for_sqlite(self, value: Collection[str]) -> str:
        raise NotImplementedError


class _AskedOfRow(_Asked):
    cache_ok = True

    def for_sqlite(self, value: Collection[str]) -> str:
        return pattern(value)


class _AskedOfIndex(_Asked):
    cache_ok = True

    def for_sqlite(self, value: Collection[str]) -> str:
        return fts5_words(value)


class _Holds(FunctionElement[Any]):
    """A condition; without a type, or SQLite compares it with 1 and uses no index."""

    inherit_cache = True


class _IsFound(_Holds):
    inherit_cache = True


class _IsAmong(_IsFound):
    inherit_cache = True


def holds(name: str) -> ColumnElement[Any]:
    """Whether a row has each of the words that the parameter ``name`` gives."""
    return _Holds(Task.id, Task.search_words, bindparam(name, type_=_AskedOfRow))


def is_found(name: str) -> ColumnElement[Any]:
    """The same, for rows that the index finds; of at most COUNTED_WORDS."""
    return _IsFound(Task.id, Task.search_words, bindparam(name, type_=_AskedOfIndex))


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


# Whole words are found several times as fast as a beginning, where few other words have that. The
# word itself is passed by when those are looked up: all of its tasks would be counted. Each of the
# words has a query of its own, which refers to no other: else SQLite takes what is found for
# dependent on the row at hand, and looks into the row first.
_FTS5_WORD = """
CASE WHEN json_extract({asked}, '$[{place}]') IS NOT NULL
THEN '{conjunction}("' || replace(json_extract({asked}, '$[{place}][0]'), '"', '""') || '"' || (
    SELECT CASE
        WHEN count(*) <= 20
        THEN coalesce(group_concat(' OR "' || replace(term, '"', '""') || '"', ''), '')
        ELSE '*'
    END
    FROM (
        SELECT term FROM tasks_search_terms
        WHERE term >= json_extract({asked}, '$[{place}][0]') || char(1)
            AND term < json_extract({asked}, '$[{place}][1]')
        LIMIT 21
    )
) || ')'
ELSE '' END
"""


def _fts5_query(asked: str) -> str:
    words = (
        _FTS5_WORD.format(asked=asked, place=place, conjunction=" AND " if place else "")
        for place in range(COUNTED_WORDS)
    )
    return " || ".join(words)


@compiles(_IsFound, "sqlite")
def _ask_fts5(element: _IsFound, compiler: SQLCompiler, **kwargs: Any) -> str:
    row_id, _, asked = (compiler.process(clause, **kwargs) for clause in element.clauses)
    query = _fts5_query(asked)
    found = f"SELECT rowid FROM tasks_search WHERE tasks_search MATCH ({query})"  # noqa: S608
    return f"({row_id} IN ({found}))"


@compiles(_IsAmong, "sqlite")
def _ask_fts5_first(element: _IsAmong, compiler: SQLCompiler, **kwargs: Any) -> str:
    # An expression is not looked up in the order of the ids.
    return f"(+{_ask_fts5(element, compiler, **kwargs)[1:]}"
