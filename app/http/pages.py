"""Keyset pages: every list is read from where the last page ended, never counted, never skipped.

A list declares its sorts and filters; the cursor that leads on is signed and bound to both. Rows
whose sort key is null come last, whichever way the list is sorted.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from flask import current_app
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.database import Instant
from app.errors import InvalidCursor
from app.extensions import db
from app.http.output import OutputSchema, Row

# How far a list is read for rows that have the words of a search: at first, and where each word is
# in OFTEN of the first rows. Of the longest words it is counted in how many rows they are.
WALKED_ROWS = (2_000, 10_000)
OFTEN = 15
COUNTED_WORDS = 5
# Where one of so many rows is found, a page of them is near.
NEAR = 1_000
# A word that is so many times as frequent as the rarest is tried on what is found by that.
MUCH = 10

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
class Search:
    """How the rows of a list are searched for words, which a parameter of the name given holds.

    ``holds`` tells of each row that it has all of them. ``is_found`` is for finding rows by an
    index, ``is_among`` for telling what the index finds from other rows.
    """

    holds: Callable[[str], ColumnElement[Any]]
    is_found: Callable[[str], ColumnElement[Any]]
    is_among: Callable[[str], ColumnElement[Any]]


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
    search: Search | None = None

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
        kind = _Kind(self, sort, tuple(sorted(filters)), _phase(place))
        given = {"page_rows": limit + 1, **values}
        if place:
            given |= {"after_key": _typed(place.key, column), "after_id": place.row_id}
        found = _search(kind, given, words) if words else _read(_plain(kind), given)
        rows = [self.schema.from_row(row) for row in found[:limit]]
        if len(found) <= limit:
            return Page(rows, None)
        last = found[limit - 1]
        return Page(rows, _seal_cursor(Place(last.sort_key, last.tie), seal))


@dataclass(frozen=True)
class _Kind:
    """What the statements of a page depend on."""

    listing: Listing
    sort: str
    filters: tuple[str, ...]
    phase: str

    @property
    def column(self) -> InstrumentedAttribute[Any]:
        return self.listing.sorts[self.sort.removeprefix("-")]

    @property
    def search(self) -> Search:
        if self.listing.search is None:
            raise TypeError(self.listing.name)
        return self.listing.search


def _read(statement: Select[Any], given: Mapping[str, Any]) -> Sequence[Any]:
    return db.session.execute(statement, given).all()


def _search(kind: _Kind, given: Mapping[str, Any], words: Sequence[str]) -> Sequence[Any]:
    """Read a page of the rows that have all of these words.

    Where many have them, a page is full before long. Where few have them, an index finds them all,
    and they are sorted. In between, SQLite reads the list on, past what the index did not find;
    PostgreSQL's index doesn't tell ids, and it sorts.
    """
    # How often one word is there, what was found tells by itself.
    alone = len(words) == 1 and not kind.filters
    counted = [] if alone else sorted(words, key=len, reverse=True)[:COUNTED_WORDS]
    asked = {_word(place): [word] for place, word in enumerate(counted)}
    given = {**given, **asked, "words": words}
    for size in WALKED_ROWS:
        found = _read(_walked(kind, size), given)
        if len(found) == given["page_rows"]:
            return found
        [(walked, *counts)] = _read(_counted(kind, size, len(counted)), given)
        if walked < size:
            return found
        if min(counts or [len(found)]) < OFTEN:
            break
    reads_on = len(found) * NEAR >= size and db.engine.dialect.name == "sqlite"
    rarest = words if alone else _rarest(dict(zip(counted, counts, strict=True)), one=reads_on)
    given["rarest"] = rarest
    if reads_on:
        return _read(_read_on(kind), given)
    return _read(_looked_up(kind, tests=len(rarest) < len(words)), given)


def _rarest(counts: Mapping[str, int], *, one: bool) -> list[str]:
    """Return the words that the index is asked for: what it gathers for each takes its time."""
    first, *others = sorted(counts, key=lambda word: counts[word])
    most = MUCH * max(counts[first], 1)
    return [first] if one else [first, *(word for word in others if counts[word] <= most)]


def _word(place: int) -> str:
    return f"word_{place}"


def _phase(place: Place | None) -> str:
    if place is None:
        return "first"
    return "without key" if place.key is None else "with key"


@lru_cache(maxsize=1024)
def _plain(kind: _Kind) -> Select[Any]:
    """Build the statement of one kind of page, once."""
    return _in_order(kind, [kind.listing.scope, *_filters(kind)])


@lru_cache(maxsize=1024)
def _read_on(kind: _Kind) -> Select[Any]:
    """Build the statement of those that fit, read in the order of the list."""
    search = kind.search
    fit = [search.is_among("rarest"), search.holds("words")]
    return _in_order(kind, [kind.listing.scope, *fit, *_filters(kind)])


def _in_order(kind: _Kind, conditions: Sequence[ColumnElement[Any]]) -> Select[Any]:
    rows = _Rows(kind, kind.listing.schema.columns, conditions, _page_rows())
    if not kind.column.nullable or kind.phase == "without key":
        return rows.of_one_run()
    runs = [
        select(run.subquery(), literal(number).label("run"))
        for number, run in enumerate(rows.runs())
    ]
    both = union_all(*runs).subquery()
    order = [both.c.run, *rows.directed(both.c.sort_key, both.c.tie)]
    return select(both).order_by(*order).limit(_page_rows())


@lru_cache(maxsize=1024)
def _walked(kind: _Kind, size: int) -> Select[Any]:
    """Build the statement of those that fit among the next rows of the list, in its order."""
    fits = and_(kind.search.holds("words"), *_filters(kind)).label("fits")
    window = _window(kind, [fits], size)
    chosen = select(window.c.sort_key, window.c.tie).where(window.c.fits).limit(_page_rows())
    return _shown(kind, chosen)


@lru_cache(maxsize=1024)
def _counted(kind: _Kind, size: int, words: int) -> Select[Any]:
    """Build the statement that counts the next rows, and those of some that have each word."""
    holds = kind.search.holds
    has = [holds(_word(place)).label(_word(place)) for place in range(words)]
    number = select(func.count()).select_from(_window(kind, [], size)).scalar_subquery()
    if not words:
        return select(number)
    sample = _window(kind, has, min(WALKED_ROWS))
    counts = (func.count().filter(sample.c[_word(place)]) for place in range(words))
    return select(number, *counts).select_from(sample)


@lru_cache(maxsize=1024)
def _looked_up(kind: _Kind, *, tests: bool) -> Select[Any]:
    """Build the statement of those that fit among the rows that the index finds.

    ``tests`` tells that there are words that the index is not asked for.
    """
    search = kind.search
    tested = [search.holds("words")] if tests else []
    fits = and_(kind.listing.scope, _Rows(kind).ahead(), *tested, *_filters(kind)).label("fits")
    # Behind an OFFSET, nothing but the index can be used to find them.
    rows = _Rows(kind, [fits], [search.is_found("rarest")])
    found = rows.all().offset(literal_column("0")).subquery()
    chosen = select(found.c.sort_key, found.c.tie).where(found.c.fits)
    order = rows.in_order(found.c.sort_key, found.c.tie)
    return _shown(kind, chosen.order_by(*order).limit(_page_rows()))


def _window(kind: _Kind, columns: Sequence[ColumnElement[Any]], size: int) -> Subquery:
    most = literal_column(str(size), Integer)  # in plain sight of PostgreSQL's planner
    rows = _Rows(kind, columns, [kind.listing.scope], most)
    if not kind.column.nullable or kind.phase == "without key":
        return rows.of_one_run().subquery()
    runs = (select(run.subquery()) for run in rows.runs())
    return union_all(*runs).limit(most).subquery()


def _shown(kind: _Kind, chosen: Select[Any]) -> Select[Any]:
    rows, listing = chosen.subquery(), kind.listing
    return (
        select(*listing.schema.columns, rows.c.sort_key, rows.c.tie)
        .join_from(rows, listing.row_id.class_, listing.row_id == rows.c.tie)
        .order_by(*_Rows(kind).in_order(rows.c.sort_key, rows.c.tie))
    )


def _filters(kind: _Kind) -> list[ColumnElement[bool]]:
    return [kind.listing.filters[name] for name in kind.filters]


@dataclass(frozen=True)
class _Rows:
    """The two runs of rows that a sorted list is made of: those with a key, and those without."""

    kind: _Kind
    columns: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]] = ()
    conditions: Sequence[ColumnElement[bool]] = ()
    most: ColumnElement[int] | None = None

    def of_one_run(self) -> Select[Any]:
        if self.kind.phase == "without key":
            return self._without_key(after=True)
        return self._with_key(after=self.kind.phase == "with key")

    def runs(self) -> tuple[Select[Any], Select[Any]]:
        return self.of_one_run(), self._without_key(after=False)

    def all(self) -> Select[Any]:
        return self._select(self.kind.column)

    def ahead(self) -> ColumnElement[bool]:
        """The rows that follow the last page, of either run."""
        key, row_id = self._ends
        if self.kind.phase == "first":
            return true()
        if self.kind.phase == "without key":
            return and_(key.is_(None), self._beyond(row_id, self._after[1]))
        return or_(self._beyond(tuple_(key, row_id), tuple_(*self._after)), key.is_(None))

    def directed(self, *ends: Any) -> list[Any]:
        return [end.desc() if self._descends else end.asc() for end in ends]

    def in_order(self, key: Any, row_id: Any) -> list[Any]:
        nulls_last = [key.is_(None)] if self.kind.column.nullable else []
        return [*nulls_last, *self.directed(key, row_id)]

    def _with_key(self, *, after: bool) -> Select[Any]:
        key, row_id = self._ends
        statement = self._select(key).order_by(*self.directed(key, row_id))
        if key.nullable:
            statement = statement.where(key.is_not(None))
        if after:
            statement = statement.where(self._beyond(tuple_(key, row_id), tuple_(*self._after)))
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
    def _after(self) -> tuple[BindParameter[Any], BindParameter[Any]]:
        key, row_id = self._ends
        return bindparam("after_key", type_=key.type), bindparam("after_id", type_=row_id.type)

    @property
    def _descends(self) -> bool:
        return self.kind.sort.startswith("-")

    def _beyond(self, end: Any, place: Any) -> Any:
        return end < place if self._descends else end > place


def _page_rows() -> BindParameter[int]:
    return bindparam("page_rows", type_=Integer)


def _typed(key: Key, column: InstrumentedAttribute[Any]) -> Key:
    if isinstance(key, str) and isinstance(column.type, Instant):
        return datetime.fromisoformat(key)
    return key


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="cursor")


def _seal_cursor(place: Place, seal: str) -> str:
    key = place.key.isoformat() if isinstance(place.key, datetime) else place.key
    return str(_serializer().dumps([seal, key, place.row_id]))


def _open_cursor(cursor: str, seal: str) -> Place:
    try:
        sealed = _serializer().loads(cursor)
        signed_for, key, row_id = sealed
    except (BadData, ValueError):
        raise InvalidCursor from None
    # Base64 has several spellings of the same bytes; only our own is a cursor.
    if signed_for != seal or _serializer().dumps(sealed) != cursor:
        raise InvalidCursor
    return Place(key, row_id)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
