"""Keyset pagination for list endpoints.

A page begins after the last row of the page before, found by its sort key and id; nothing is
counted or skipped. A cursor is signed, and valid only for the list, sort and filters that it was
made with. Rows without a sort key come last in both directions.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson
from flask import current_app
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    collate,
    literal,
    select,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.db.compiled import CompiledSelect
from app.db.types import UTCDateTime
from app.errors import InvalidCursor
from app.extensions import db

Position = Literal["start", "after key", "after null"]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a list, by column name and ready for JSON, and the cursor of the next page."""

    rows: Sequence[dict[str, Any]]
    next_cursor: str | None


class CursorPosition(NamedTuple):
    """Sort key and id of the last row of a page."""

    key: Any
    row_id: int | str


@dataclass(frozen=True, eq=False)
class KeysetPaginator:
    """A list: its columns, and how it can be sorted and filtered.

    ``scope`` and ``filters`` are conditions over bound parameters.
    """

    name: str
    columns: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]]
    row_id: InstrumentedAttribute[Any]
    scope: ColumnElement[bool]
    sorts: Mapping[str, InstrumentedAttribute[Any]]
    filters: Mapping[str, ColumnElement[bool]] = field(default_factory=dict)

    def page(
        self,
        *,
        values: Mapping[str, Any],
        filters: Collection[str] = (),
        sort: str,
        limit: int,
        cursor: str | None,
        context: Any,
    ) -> Page:
        """Return one page.

        ``values`` are the parameters of the scope and of the ``filters`` to apply. ``context``
        is what else a cursor depends on: the user and the values of the filters.
        Raises InvalidCursor if the cursor belongs to another list, sort or context.
        """
        signature = make_signature(self.name, sort, context)
        position: Position = "start"
        params = {**values, "page_rows": limit + 1}
        if cursor is not None:
            after = decode_cursor(cursor, signature)
            position = "after null" if after.key is None else "after key"
            params["after_key"] = parse_key(after.key, self.sorts[sort.removeprefix("-")])
            params["after_id"] = after.row_id
        dialect = db.engine.dialect.name
        query = PageQuery(self, sort, tuple(sorted(filters)), position, dialect)
        rows = compile_page(query).all(params)
        if len(rows) <= limit:
            return Page(rows, None)
        rows = rows[:limit]
        last = CursorPosition(rows[-1]["sort_key"], rows[-1]["tiebreaker"])
        return Page(rows, encode_cursor(last, signature))


@dataclass(frozen=True)
class PageQuery:
    """The parts of a request that determine the statement of its page."""

    paginator: KeysetPaginator
    sort: str
    filters: tuple[str, ...]
    position: Position
    dialect: str


@lru_cache(maxsize=1024)
def compile_page(query: PageQuery) -> CompiledSelect:
    """Return the statement of a page: its columns, the sort key and the id, one row too many."""
    return CompiledSelect(KeysetSegments(query).select_page(), json_ready=True)


class KeysetSegments:
    """The two segments of a sorted list: rows with a sort key, then rows where it is null.

    Each is read from its index on its own. One query that sorts nulls last can't use the index.
    """

    def __init__(self, query: PageQuery) -> None:
        paginator = query.paginator
        self._query = query
        self._columns = paginator.columns
        self._conditions = [paginator.scope, *(paginator.filters[name] for name in query.filters)]
        self._descending = query.sort.startswith("-")
        self._key = paginator.sorts[query.sort.removeprefix("-")]
        self._row_id = paginator.row_id
        self._after_key = bindparam("after_key", type_=self._key.type)
        self._after_id = bindparam("after_id", type_=self._row_id.type)
        self._limit = bindparam("page_rows", type_=Integer)

    def select_page(self) -> Select[Any]:
        if self._query.position == "after null":
            return self._without_key(self._beyond(self._row_id, self._after_id))
        with_key = self._with_key()
        if not self._key.nullable:
            return with_key
        segments = union_all(
            *(
                select(segment.subquery(), literal(number).label("segment"))
                for number, segment in enumerate([with_key, self._without_key()])
            )
        ).subquery()
        order = self._ordered(segments.c.sort_key, segments.c.tiebreaker)
        return select(segments).order_by(segments.c.segment, *order).limit(self._limit)

    def _with_key(self) -> Select[Any]:
        statement = self._select(self._key)
        if self._key.nullable:
            statement = statement.where(self._key.is_not(None))
        if self._query.position == "after key":
            after_id: ColumnElement[Any] = self._after_id
            if self._query.dialect == "sqlite":
                # Without a collation SQLite seeks the key alone, and scans all rows that share it.
                # The coercion changes no value; SQLAlchemy only collates strings.
                after_id = collate(type_coerce(after_id, String), "BINARY")
            # Row values: "a < ? OR (a = ? AND id < ?)" is slow on SQLite, and PostgreSQL's
            # generic plan for it scans the table.
            position = tuple_(self._after_key, after_id)
            statement = statement.where(self._beyond(tuple_(self._key, self._row_id), position))
        return statement

    def _without_key(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        statement = self._select(literal(None, self._key.type))
        return statement.where(self._key.is_(None), *conditions)

    def _select(self, key: Any) -> Select[Any]:
        ends = (key.label("sort_key"), self._row_id.label("tiebreaker"))
        # Ordering by a key that is null throughout lets PostgreSQL use the index.
        return (
            select(*self._columns, *ends)
            .where(*self._conditions)
            .order_by(*self._ordered(self._key, self._row_id))
            .limit(self._limit)
        )

    def _ordered(self, *columns: Any) -> list[Any]:
        return [column.desc() if self._descending else column.asc() for column in columns]

    def _beyond(self, column: Any, position: Any) -> Any:
        return column < position if self._descending else column > position


def all_pages(read: Callable[..., Page], **params: Any) -> Iterator[Page]:
    """Yield all pages that ``read`` returns for increasing cursors."""
    cursor = None
    while True:
        page = read(**params, cursor=cursor)
        yield page
        if (cursor := page.next_cursor) is None:
            return


def make_signature(*parts: Any) -> str:
    """Return the short hash that binds a cursor to its list."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def encode_cursor(position: CursorPosition, signature: str) -> str:
    """Return a signed cursor."""
    payload = base64_encode(orjson.dumps([signature, *position]))
    return _signer(current_app.config["SECRET_KEY"]).sign(payload).decode()


def decode_cursor(cursor: str, signature: str) -> CursorPosition:
    """Return the position in a cursor. Raises InvalidCursor."""
    try:
        payload = _signer(current_app.config["SECRET_KEY"]).unsign(cursor)
        signed_for, key, row_id = orjson.loads(base64_decode(payload))
    except (BadData, ValueError):
        raise InvalidCursor from None
    # Base64 has several spellings of the same bytes. The payload's is signed; the signature's
    # has to be compared.
    mac = cursor.rpartition(".")[2]
    if signed_for != signature or base64_encode(base64_decode(mac)).decode() != mac:
        raise InvalidCursor
    return CursorPosition(key, row_id)


@lru_cache(maxsize=4)
def _signer(secret: str) -> Signer:
    return Signer(secret, salt="cursor")


def parse_key(key: Any, column: InstrumentedAttribute[Any]) -> Any:
    """Return the sort key of a cursor as a value of its column."""
    is_time = isinstance(column.type, UTCDateTime)
    return datetime.fromisoformat(key) if is_time and key is not None else key
