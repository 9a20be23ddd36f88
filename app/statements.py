"""Statements past the ORM, for where it counts: compiled once, they give plain rows.

What SQLAlchemy does for each execution takes several times as long as SQLite does for a small read;
docs/decisions/0011-fast-path.md has the figures.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Select, bindparam, insert, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from app import connections
from app.database import (
    Column,
    Model,
    begin_write,
    shown_column,
    stored_column,
    turn_to_write,
)
from app.extensions import db
from app.origin import origin

Values = Mapping[str, Any]
Rows = Sequence[Sequence[Any]]
Process = Callable[[Any], Any]
Returning = Select[*tuple[Any, ...]] | ReturningInsert[Any] | ReturningUpdate[Any]
Run = Callable[[Engine, str, Any], Rows]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement in one database's words, and what its parameters and its columns go through.

    Its parameters have ``names``, in the order that the driver takes them in, if it goes by one.
    Some of them are ``fixed``, and some are ``asked`` for.
    """

    compiled: SQLCompiler
    text: str
    names: Sequence[str]
    fixed: Values
    asked: Mapping[str, Process | None]
    columns: Sequence[tuple[int, Column]]

    def told(self, values: Values) -> tuple[str, Any]:
        """Return the text and the parameters as the driver takes them."""
        if self.compiled.post_compile_params:
            return self._expanded(values)
        if self.fixed:
            values = {**values, **self.fixed}
        given = [
            process(values[name]) if (process := self.asked.get(name)) else values[name]
            for name in self.names
        ]
        if self.compiled.positional:
            return self.text, given
        return self.text, dict(zip(self.names, given, strict=True))

    def _expanded(self, values: Values) -> tuple[str, Any]:
        """The same where a parameter is a list: each of its values is a parameter in the text."""
        state = self.compiled.construct_expanded_state(values)
        processes = {**self.asked, **state.processors}
        given = {
            name: process(value) if (process := processes.get(name)) else value
            for name, value in state.parameters.items()
        }
        given |= self.fixed
        order = state.positiontup
        return state.statement, given if order is None else [given[name] for name in order]

    def rows(self, found: Rows) -> Rows:
        """Return what the driver gave as Python has it, a column at a time: that calls least."""
        if not (self.columns and found):
            return found
        columns: list[Any] = list(zip(*found, strict=True))
        for index, process in self.columns:
            columns[index] = process(columns[index])
        return list(zip(*columns, strict=True))


class _Statement:
    """A statement over bound parameters.

    With ``shown``, values come as they go out in JSON, which mostly is as the driver gives them.
    """

    def __init__(self, statement: Returning, *, shown: bool) -> None:
        self._statement = statement
        self._shown = shown
        self._compiled: dict[str, Compiled] = {}

    def run(self, values: Values, run: Run) -> Rows:
        """Return the rows that ``run`` gets for the statement."""
        engine = db.engine
        name = engine.dialect.name
        compiled = self._compiled.get(name)
        if compiled is None:
            compiled = self._compiled[name] = self._compile(engine.dialect)
        text, parameters = compiled.told(values)
        return compiled.rows(run(engine, text, parameters))

    def _compile(self, dialect: Dialect) -> Compiled:
        compiled = self._statement.compile(dialect=dialect)
        if not isinstance(compiled, SQLCompiler):
            raise TypeError
        names = tuple(compiled.positiontup or compiled.binds)
        fixed, asked = {}, {}
        for name in names:
            parameter = compiled.binds[name]
            process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if parameter.required:
                asked[name] = process
            else:
                value = parameter.effective_value
                fixed[name] = process(value) if process else value
        read = shown_column if self._shown else stored_column
        kinds = (column.type for column in self._statement.exported_columns)
        columns = [(index, read(kind, dialect)) for index, kind in enumerate(kinds)]
        return Compiled(
            compiled=compiled,
            text=compiled.string,
            names=names,
            fixed=fixed,
            asked=asked,
            columns=[(index, process) for index, process in columns if process],
        )


class Query(_Statement):
    """A SELECT."""

    def __init__(self, statement: Select[*tuple[Any, ...]], *, shown: bool = False) -> None:
        super().__init__(statement, shown=shown)

    def first(self, values: Values) -> Sequence[Any] | None:
        """Return the first row, or None."""
        rows = self.all(values)
        return rows[0] if rows else None

    def all(self, values: Values) -> Rows:
        """Return every row."""
        return self.run(values, fetch)


class Insertion(_Statement):
    """An INSERT of one row, whose id the database gives if it numbers the rows.

    Nothing else is asked back: what is stored is what was given.
    """

    def __init__(self, model: type[Model]) -> None:
        table = model.metadata.tables[model.__tablename__]
        given = {
            column.name: bindparam(column.name, type_=column.type)
            for column in table.c
            if column is not table.autoincrement_column
        }
        statement = insert(table).values(given).returning(*table.primary_key)
        super().__init__(statement, shown=False)

    def one(self, values: Values) -> Any:
        """Add the row, in the transaction at hand or by itself, and return its id."""
        [[row_id]] = self.run(values, write)
        return row_id


class Alteration:
    """UPDATEs of one row, as it was at some version, which move that on; they return ``columns``.

    A statement names the columns that change and no others, so that indexes of others stay.
    """

    def __init__(self, model: type[Any], columns: Sequence[Any], *, shown: bool = False) -> None:
        self._model = model
        self._columns = columns
        self._shown = shown
        self._by_names: dict[frozenset[str], _Statement] = {}

    def one(self, row_id: int, version: int, values: Values) -> Sequence[Any] | None:
        """Change the row, in the transaction at hand or by itself, and return it.

        None where there is no such row at that version.
        """
        names = frozenset(values)
        statement = self._by_names.get(names)
        if statement is None:
            statement = self._by_names[names] = self._of(names)
        rows = statement.run({**values, "old_id": row_id, "old_version": version}, write)
        return rows[0] if rows else None

    def _of(self, names: Iterable[str]) -> _Statement:
        table = self._model.metadata.tables[self._model.__tablename__]
        changed = {name: bindparam(name, type_=table.c[name].type) for name in sorted(names)}
        statement = (
            update(table)
            .values({**changed, "version": table.c.version + 1})
            .where(table.c.id == bindparam("old_id"), table.c.version == bindparam("old_version"))
            .returning(*self._columns)
        )
        return _Statement(statement, shown=self._shown)


def fetch(engine: Engine, text: str, parameters: Any) -> Rows:
    """Read, in the transaction at hand, which sees its own writes, or by itself."""
    transaction = _transaction()
    if transaction is not None:
        return execute(transaction.connection, engine, text, parameters, transaction)
    return _by_itself(engine, text, parameters)


def write(engine: Engine, text: str, parameters: Any) -> Rows:
    """Write, in the transaction at hand, or by itself: a statement is all or nothing."""
    transaction = _transaction()
    if transaction is not None:
        begin_write(transaction)
        return execute(transaction.connection, engine, text, parameters, transaction)
    with turn_to_write(engine):
        return _by_itself(engine, text, parameters)


def _transaction() -> Connection | None:
    """Return the connection of the session's transaction, where one is under way."""
    if db.session.registry.has() and db.session().in_transaction():
        return db.session.connection()
    return None


def _by_itself(engine: Engine, text: str, parameters: Any) -> Rows:
    try:
        connection = connections.take(engine)
    except engine.dialect.loaded_dbapi.Error as error:
        raise _in_our_words(error, engine, text, lost=False) from error
    try:
        return execute(connection, engine, text, parameters)
    except DBAPIError:
        # After a write that breaks a foreign key, SQLite shows the connection the past once more.
        if engine.dialect.name == "sqlite":
            connection.invalidate()
        raise
    finally:
        connections.leave(connection)


def is_watched(engine: Engine) -> bool:
    """Tell whether anybody listens to SQLAlchemy for the statements of an engine, or logs them."""
    moments = engine.dispatch
    return bool(
        moments.before_cursor_execute
        or moments.after_cursor_execute
        or engine.logger.isEnabledFor(logging.INFO)
    )


def tell(connection: Connection, text: str, parameters: Any) -> Rows:
    """Run a statement by SQLAlchemy, as it stands, which tells those who listen."""
    given = tuple(parameters) if isinstance(parameters, list) else parameters
    return connection.exec_driver_sql(text, given).fetchall()


def execute(
    connection: PoolProxiedConnection,
    engine: Engine,
    text: str,
    parameters: Any,
    transaction: Connection | None = None,
) -> Rows:
    """Run a statement, and return what it gives. Raises DBAPIError.

    The driver gets it at once, but where it is watched: then SQLAlchemy runs it, in its
    ``transaction`` or by itself.
    """
    if is_watched(engine):
        return tell(transaction or Connection(engine, connection), text, parameters)
    origin().queries += 1
    cursor = connection.cursor()
    try:
        cursor.execute(text, parameters)
        return cursor.fetchall()
    except engine.dialect.loaded_dbapi.Error as error:
        lost = engine.dialect.is_disconnect(error, connection.dbapi_connection, None)
        if lost:
            connection.invalidate(error)
        raise _in_our_words(error, engine, text, lost=lost) from error
    finally:
        cursor.close()


def _in_our_words(error: Exception, engine: Engine, text: str, *, lost: bool) -> BaseException:
    """Return a driver's error as SQLAlchemy tells of it, without the parameters' values."""
    return DBAPIError.instance(
        text,
        None,
        error,
        engine.dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=engine.dialect,
    )
