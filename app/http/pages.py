"""Keyset pages: every list is read from where the last page ended, never counted, never skipped.

A list declares its sorts and filters; the cursor that leads on is signed and bound to both. Rows
whose sort key is null come last, whichever way the list is sorted.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from flask import current_app
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    String,
    Subquery,
    and_,
    bindparam,
    collate,
    literal,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.database import Instant
from app.errors import InvalidCursor
from app.extensions import db
from app.http.output import OutputSchema, Row
from app.statements import Query, Rows, Values

Key = str | int | datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list, and the cursor of those that follow."""

    rows: Sequence[Row]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the last row's sort key and id."""

    key: Key
    row_id: int | str


@dataclass(frozen=True, eq=False)
class Listing:
    """One list: what it shows, and the ways it is sorted and filtered.

    ``scope`` and ``filters`` are conditions over bound parameters, which a call gives values.
    """

    name: str
    schema: OutputSchema
    row_id: InstrumentedAttribute[Any]
    scope: ColumnElement[bool]
    sorts: Mapping[str, InstrumentedAttribute[Any]]
    filters: Mapping[str, ColumnElement[bool]]

    def page(
        self,
        *,
        values: Mapping[str, Any],
        filters: Collection[str] = (),
        words: Sequence[str] = (),
        sort: str,
        limit: int,
        cursor: str | None,
        bound_to: Any,
    ) -> Page:
        """Read one page.

        ``values`` are those of the parameters of the scope and of the ``filters`` that are on; rows
        must have all of the ``words``. ``bound_to`` tells this list from the same of another
        account or with other filters.
        Raises InvalidCursor for a cursor that was made with anything else.
        """
        seal = _digest(self.name, sort, bound_to)
        place = None if cursor is None else _open_cursor(cursor, seal)
        column = self.sorts[sort.removeprefix("-")]
        kind = Kind(self, sort, tuple(sorted(filters)), _phase(place), db.engine.dialect.name)
        given = {"page_rows": limit + 1, "words": words, **values}
        if place:
            given |= {"after_key": _typed(place.key, column), "after_id": place.row_id}
        found = self.read(kind, given)
        rows = self.schema.from_rows(found[:limit])
        if len(found) <= limit:
            return Page(rows, None)
        ends = len(self.schema.columns)
        key, row_id = found[limit - 1][ends : ends + 2]
        return Page(rows, _seal_cursor(Place(key, row_id), seal))

    def read(self, kind: "Kind", given: Values) -> Rows:
        """Read the rows of a page and one more: the schema's columns, the sort key, the tie."""
        return _plain(kind).all(given)


@dataclass(frozen=True)
class Kind:
    """What the statements of a page depend on."""

    listing: Listing
    sort: str
    filters: tuple[str, ...]
    phase: str
    dialect: str

    @property
    def column(self) -> InstrumentedAttribute[Any]:
        return self.listing.sorts[self.sort.removeprefix("-")]

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        return [self.listing.filters[name] for name in self.filters]


def _phase(place: Place | None) -> str:
    if place is None:
        return "first"
    return "without key" if place.key is None else "with key"


@lru_cache(maxsize=1024)
def _plain(kind: Kind) -> Query:
    """Build the statement of one kind of page, once."""
    return Query(_page_of(kind), shown=True)


def _page_of(kind: Kind) -> Select[Any]:
    conditions = [kind.listing.scope, *kind.conditions]
    rows = Runs(kind, kind.listing.schema.columns, conditions, page_rows())
    first, *others = rows.runs()
    if not others:
        return first
    runs = [
        select(run.subquery(), literal(number).label("run"))
        for number, run in enumerate([first, *others])
    ]
    all_of_them = union_all(*runs).subquery()
    order = [all_of_them.c.run, *rows.directed(all_of_them.c.sort_key, all_of_them.c.tie)]
    return select(all_of_them).order_by(*order).limit(page_rows())


def window(
    kind: Kind,
    most: ColumnElement[int],
    columns: Sequence[ColumnElement[Any]] = (),
    conditions: Sequence[ColumnElement[Any]] = (),
) -> Subquery:
    """Return the next rows of a list, whatever its filters: ``columns``, sort keys and ties."""
    first, *others = Runs(kind, columns, [kind.listing.scope, *conditions], most).runs()
    if not others:
        return first.subquery()
    runs = (select(run.subquery()) for run in (first, *others))
    return union_all(*runs).limit(most).subquery()


@dataclass(frozen=True)
class Runs:
    """The runs of rows that a sorted list is made of: those with a key, then those without."""

    kind: Kind
    columns: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]] = ()
    conditions: Sequence[ColumnElement[bool]] = ()
    most: ColumnElement[int] | None = None

    def runs(self) -> list[Select[Any]]:
        """Return them in their order, each as far as it is yet to be read."""
        if self.kind.phase == "without key":
            return [self._without_key(after=True)]
        with_key = self._with_key()
        if not self.kind.column.nullable:
            return [with_key]
        return [with_key, self._without_key(after=False)]

    def all(self) -> Select[Any]:
        return self._select(self.kind.column)

    def ahead(self) -> ColumnElement[Any]:
        """The rows that follow the last page, of either run."""
        key, row_id = self._ends
        if self.kind.phase == "first":
            return true()
        if self.kind.phase == "without key":
            return and_(key.is_(None), self._beyond(row_id, self._after[1]))
        beyond = self._beyond_place(key, row_id)
        return or_(beyond, key.is_(None)) if key.nullable else beyond

    def directed(self, *ends: Any) -> list[Any]:
        return [end.desc() if self._descends else end.asc() for end in ends]

    def in_order(self, key: Any, row_id: Any) -> list[Any]:
        nulls_last = [key.is_(None)] if self.kind.column.nullable else []
        return [*nulls_last, *self.directed(key, row_id)]

    def _with_key(self) -> Select[Any]:
        key, row_id = self._ends
        statement = self._select(key).order_by(*self.directed(key, row_id))
        if key.nullable:
            statement = statement.where(key.is_not(None))
        if self.kind.phase == "with key":
            statement = statement.where(self._beyond_place(key, row_id))
        return statement

    def _without_key(self, *, after: bool) -> Select[Any]:
        key, row_id = self._ends
        statement = self._select(literal(None, key.type)).where(key.is_(None))
        if after:
            statement = statement.where(self._beyond(row_id, self._after[1]))
        # The key is null throughout; naming it lets PostgreSQL read the order from the index.
        return statement.order_by(*self.directed(key, row_id))

    def _select(self, key: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[Any]:
        row_id = self.kind.listing.row_id
        statement = select(*self.columns, key.label("sort_key"), row_id.label("tie"))
        return statement.where(*self.conditions).limit(self.most)

    @property
    def _ends(self) -> tuple[InstrumentedAttribute[Any], InstrumentedAttribute[Any]]:
        return self.kind.column, self.kind.listing.row_id

    @property
    def _after(self) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        key, row_id = self._ends
        return bindparam("after_key", type_=key.type), bindparam("after_id", type_=row_id.type)

    @property
    def _descends(self) -> bool:
        return self.kind.sort.startswith("-")

    def _beyond_place(self, key: Any, row_id: Any) -> Any:
        after_key, after_id = self._after
        if self.kind.dialect == "sqlite":
            # Without a collation it goes by the key alone, and through all that are alike. None is
            # for text alone, and none makes a text of a number.
            after_id = collate(type_coerce(after_id, String), "BINARY")
        return self._beyond(tuple_(key, row_id), tuple_(after_key, after_id))

    def _beyond(self, end: Any, place: Any) -> Any:
        return end < place if self._descends else end > place


def page_rows() -> BindParameter[int]:
    return bindparam("page_rows", type_=Integer)


def _typed(key: Key, column: InstrumentedAttribute[Any]) -> Key:
    if isinstance(key, str) and isinstance(column.type, Instant):
        return datetime.fromisoformat(key)
    return key


def _signer() -> Signer:
    return _signer_of(current_app.config["SECRET_KEY"])


@lru_cache(maxsize=4)
def _signer_of(secret: str) -> Signer:
    return Signer(secret, salt="cursor")


def _seal_cursor(place: Place, seal: str) -> str:
    key = place.key.isoformat() if isinstance(place.key, datetime) else place.key
    payload = base64_encode(orjson.dumps([seal, key, place.row_id]))
    return _signer().sign(payload).decode()


def _open_cursor(cursor: str, seal: str) -> Place:
    try:
        payload = _signer().unsign(cursor)
        signed_for, key, row_id = orjson.loads(base64_decode(payload))
    except (BadData, ValueError):
        raise InvalidCursor from None
    # Base64 has several spellings of the same bytes; only our own is a cursor. What is signed is
    # a spelling already.
    signature = cursor.rpartition(".")[2]
    if signed_for != seal or base64_encode(base64_decode(signature)).decode() != signature:
        raise InvalidCursor
    return Place(key, row_id)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
