"""Statements that are compiled once per dialect and executed without the ORM.

For a small read, SQLAlchemy's work per execution takes several times as long as SQLite does;
docs/decisions/0018-compiled-statements.md has the figures.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Select, bindparam, insert, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from app.db import connections
from app.db.base import Model
from app.db.engine import begin_write, wrap_error
from app.db.sqlite import sqlite_write_lock
from app.db.types import ColumnProcessor, json_result_processor, python_result_processor
from app.extensions import db
from app.request_context import request_context

Params = Mapping[str, Any]
Rows = Sequence[Any]
BindProcessor = Callable[[Any], Any]
Statement = Select[*tuple[Any, ...]] | ReturningInsert[Any] | ReturningUpdate[Any]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement compiled for one dialect, with its bind and result processors.

    ``bind_names`` are in the order of the driver. ``literal_binds`` are constants of the
    statement, ``runtime_binds`` are passed with each execution.
    """

    compiler: SQLCompiler
    text: str
    bind_names: Sequence[str]
    literal_binds: Params
    runtime_binds: Mapping[str, BindProcessor | None]
    result_processors: Sequence[tuple[int, ColumnProcessor]]

    @classmethod
    def of(cls, statement: Statement, dialect: Dialect, *, json_ready: bool) -> "Compiled":
        compiler = statement.compile(dialect=dialect)
        if not isinstance(compiler, SQLCompiler):
            raise TypeError
        names = tuple(compiler.positiontup or compiler.binds)
        literal_binds, runtime_binds = {}, {}
        for name in names:
            parameter = compiler.binds[name]
            process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if parameter.required:
                runtime_binds[name] = process
            else:
                value = parameter.effective_value
                literal_binds[name] = process(value) if process else value
        processor = json_result_processor if json_ready else python_result_processor
        processors = [
            (index, convert)
            for index, column in enumerate(statement.exported_columns)
            if (convert := processor(column.type, dialect))
        ]
        return cls(compiler, compiler.string, names, literal_binds, runtime_binds, processors)

    def bind(self, params: Params) -> tuple[str, Any]:
        """Return the SQL text and the parameters as the driver takes them."""
        if self.compiler.post_compile_params:
            return self._bind_expanding(params)
        if self.literal_binds:
            params = {**params, **self.literal_binds}
        values = [
            process(params[name]) if (process := self.runtime_binds.get(name)) else params[name]
            for name in self.bind_names
        ]
        if self.compiler.positional:
            return self.text, values
        return self.text, dict(zip(self.bind_names, values, strict=True))

    def _bind_expanding(self, params: Params) -> tuple[str, Any]:
        """Return the same for a statement with list parameters, each value of which is a bind."""
        state = self.compiler.construct_expanded_state(params)
        processors = {**self.runtime_binds, **state.processors}
        values = {
            name: process(value) if (process := processors.get(name)) else value
            for name, value in state.parameters.items()
        }
        values |= self.literal_binds
        order = state.positiontup
        return state.statement, values if order is None else [values[name] for name in order]

    def process_results(self, rows: Rows) -> Rows:
        """Convert the driver's values, a column at a time: that takes the fewest calls."""
        if not (self.result_processors and rows):
            return rows
        columns: list[Any] = list(zip(*rows, strict=True))
        for index, process in self.result_processors:
            columns[index] = process(columns[index])
        return list(zip(*columns, strict=True))


class _CompiledStatement:
    """A statement with bound parameters.

    Its rows are tuples of Python values or, if ``json_ready``, dicts by column name whose values
    orjson can serialize: often what the driver returned, without any conversion.
    """

    def __init__(self, statement: Statement, *, json_ready: bool = False) -> None:
        self._statement = statement
        self._json_ready = json_ready
        self._names = tuple(statement.exported_columns.keys())
        self._by_dialect: dict[str, Compiled] = {}

    def run(self, params: Params, *, writes: bool) -> Rows:
        """Execute, in the current transaction or as a transaction of its own."""
        engine = db.engine
        compiled = self._by_dialect.get(engine.dialect.name)
        if compiled is None:
            compiled = Compiled.of(self._statement, engine.dialect, json_ready=self._json_ready)
            self._by_dialect[engine.dialect.name] = compiled
        text, values = compiled.bind(params)
        rows = compiled.process_results(execute(engine, text, values, writes=writes))
        return (
            [dict(zip(self._names, row, strict=True)) for row in rows] if self._json_ready else rows
        )


class CompiledSelect(_CompiledStatement):
    """A SELECT."""

    def first(self, params: Params) -> Any:
        """Return the first row, or None."""
        rows = self.run(params, writes=False)
        return rows[0] if rows else None

    def all(self, params: Params) -> Rows:
        """Return all rows."""
        return self.run(params, writes=False)


class CompiledInsert(_CompiledStatement):
    """An INSERT of one row that returns the generated id."""

    def __init__(self, model: type[Model]) -> None:
        table = model.metadata.tables[model.__tablename__]
        values = {
            column.name: bindparam(column.name, type_=column.type)
            for column in table.c
            if column is not table.autoincrement_column
        }
        super().__init__(insert(table).values(values).returning(*table.primary_key))

    def execute(self, params: Params) -> Any:
        """Insert the row, in the current transaction or its own, and return its id."""
        [[row_id]] = self.run(params, writes=True)
        return row_id


class CompiledUpdate:
    """UPDATEs of one row at an expected version, which they increment.

    Each set of columns has its own statement: indexes of other columns are not touched.
    """

    def __init__(self, model: type[Model], returning: Sequence[Any]) -> None:
        self._table = model.metadata.tables[model.__tablename__]
        self._returning = returning
        self._by_columns: dict[frozenset[str], _CompiledStatement] = {}

    def execute(self, row_id: int, expected_version: int, params: Params) -> Any:
        """Update the row, in the current transaction or its own, and return it JSON-ready.

        Return None if there is no such row at that version.
        """
        names = frozenset(params)
        if names not in self._by_columns:
            self._by_columns[names] = self._update_of(sorted(names))
        rows = self._by_columns[names].run(
            {**params, "row_id": row_id, "expected_version": expected_version}, writes=True
        )
        return rows[0] if rows else None

    def _update_of(self, names: Sequence[str]) -> _CompiledStatement:
        columns = self._table.c
        values = {name: bindparam(name, type_=columns[name].type) for name in names}
        statement = (
            update(self._table)
            .values({**values, "version": columns.version + 1})
            .where(
                columns.id == bindparam("row_id"), columns.version == bindparam("expected_version")
            )
            .returning(*self._returning)
        )
        return _CompiledStatement(statement, json_ready=True)


def execute(engine: Engine, text: str, values: Any, *, writes: bool) -> Rows:
    """Execute in the session's transaction or, without one, as its own transaction.

    Raises DBAPIError.
    """
    if db.session.registry.has() and db.session().in_transaction():
        transaction = db.session.connection()
        if writes:
            begin_write(transaction)
        return _execute(transaction.connection, engine, text, values, transaction)
    lock = sqlite_write_lock(engine) if writes else nullcontext()
    try:
        with lock, connections.checkout(engine) as connection:
            try:
                return _execute(connection, engine, text, values)
            except DBAPIError:
                # After a failed foreign key check, SQLite keeps the connection at an old snapshot.
                if engine.dialect.name == "sqlite":
                    connection.invalidate()
                raise
    except engine.dialect.loaded_dbapi.Error as error:
        raise wrap_error(error, engine.dialect, text=text) from error


def _execute(
    connection: PoolProxiedConnection,
    engine: Engine,
    text: str,
    values: Any,
    transaction: Connection | None = None,
) -> Rows:
    events = engine.dispatch
    if (
        events.before_cursor_execute
        or events.after_cursor_execute
        or engine.logger.isEnabledFor(logging.INFO)
    ):
        # Traces, profilers, tests and SQLAlchemy's log see the statement too.
        params = tuple(values) if isinstance(values, list) else values
        sqlalchemy_connection = transaction or Connection(engine, connection)
        return sqlalchemy_connection.exec_driver_sql(text, params).fetchall()
    request_context().queries += 1
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(text, values)
            return cursor.fetchall()
    except engine.dialect.loaded_dbapi.Error as error:
        raise wrap_error(error, engine.dialect, connection, text) from error
