"""Lists that are searched: a page of the rows that have some words, wherever those rows are.

The latest rows tell how frequent the words are, and so how a page is had soonest. Where many rows
have the words, a page of them is near: the list is read in its order. Where few have them, an index
finds them all, and they are sorted.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import Any

from cachetools import TTLCache
from flask import Flask, current_app
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    case,
    func,
    literal_column,
    select,
    true,
)

from app.http.pages import Kind, Listing, Runs, page_rows, window
from app.statements import Query, Rows, Values

# In so many of the latest rows, the longest words are counted.
SAMPLED_ROWS = 2_000
COUNTED_WORDS = 5
# An index is asked for the words that at most so many of those rows have; it gathers them all.
RARE = 60
# So far a list is read in its order; twice as far where fewer than so many fit.
WALKED_ROWS = 10_000
LIKELY = 14
# How frequent words are is believed for so many seconds, of so many searches.
BELIEVED = 60
KNOWN = 1_024
_lock = Lock()
# What a search has that says nothing of what it is for.
PLACE = {"page_rows", "after_key", "after_id"}


@dataclass(frozen=True)
class Costs:
    """Where one way to a page becomes cheaper than another.

    The more rows fit, the nearer is a page; the more have the rarest word, the more an index
    gathers. Where the one times the other is ``often``, the list is read in its order, up to a
    limit. From ``near`` on, where an index gives ids, the list is read past what it did not find,
    up to a full page: what the index found lies apart, and is dearer to read and sort. To read such
    a ``row`` costs as much as so many that the index gathers.
    """

    often: int
    near: float
    row: int


# By database, and whether the list goes by age: what follows in that order lies together, and is
# cheaper to read than what is strewn. PostgreSQL's index does not give ids.
COSTS = {
    ("sqlite", True): Costs(often=200, near=4, row=50),
    ("sqlite", False): Costs(often=1_500, near=4, row=50),
    ("postgresql", True): Costs(often=20, near=math.inf, row=5),
    ("postgresql", False): Costs(often=200, near=math.inf, row=5),
}


@dataclass(frozen=True, eq=False)
class Search:
    """How rows are searched for words, which a parameter of the name given holds.

    ``holds`` tells of each row whether it has all of them. ``is_found`` is for finding rows by an
    index; ``is_among``, where an index gives ids, for telling its rows from others.
    """

    holds: Callable[[str], ColumnElement[Any]]
    is_found: Callable[[str], ColumnElement[Any]]
    is_among: Callable[[str], ColumnElement[Any]]


@dataclass(frozen=True, eq=False)
class SearchedListing(Listing):
    """A list that may be asked for the rows that have some words.

    Its latest rows are the last by the first of its sorts.
    """

    search: Search

    def read(self, kind: Kind, given: Values) -> Rows:
        if not given["words"]:
            return super().read(kind, given)
        counted = sorted(given["words"], key=len, reverse=True)[:COUNTED_WORDS]
        rows, fit, *counts = self._frequencies(kind, given, counted)
        few, costs = min(counts), self._costs(kind)
        rare = _worth_gathering(zip(counts, counted, strict=True), costs.row)
        if rows < SAMPLED_ROWS or not rare or fit * few >= costs.often:
            size = WALKED_ROWS if fit >= LIKELY else 2 * WALKED_ROWS
            found = _walked(self.search, kind, size).all(given)
            if rows < SAMPLED_ROWS or len(found) == given["page_rows"]:
                return found
        gathered = few if len(rare) == 1 else fit
        is_near = fit * gathered >= costs.near
        return self._by_index(kind, given, rare or counted, is_near=is_near)

    def _costs(self, kind: Kind) -> Costs:
        by_age = kind.column is next(iter(self.sorts.values()))
        return COSTS[kind.dialect, by_age]

    def _by_index(self, kind: Kind, given: Values, words: Sequence[str], *, is_near: bool) -> Rows:
        if is_near:
            statement = _read_on(self.search, kind)
        else:
            statement = _looked_up(self.search, kind, all_asked={*words} == {*given["words"]})
        return statement.all({**given, "asked": words})

    def _frequencies(self, kind: Kind, given: Values, counted: Sequence[str]) -> Sequence[int]:
        """Return how many of the latest rows were read, how many fit, and how many have each word.

        Of a long list it is believed for a while: it decides how a page is had, not what is in it.
        """
        asked = {name: value for name, value in given.items() if name not in PLACE}
        search = repr((self.name, kind.filters, asked))
        known: TTLCache[str, Sequence[int]] = current_app.extensions["frequencies"]
        with _lock:
            found = known.get(search)
        if found is None:
            words = {_word(place): [word] for place, word in enumerate(counted)}
            sample = _sampled(self.search, kind, SAMPLED_ROWS, len(counted))
            [found] = sample.all({**given, **words})
            if found[0] == SAMPLED_ROWS:
                with _lock:
                    known[search] = found
        return found


def _worth_gathering(counted: Iterable[tuple[int, str]], row: int) -> list[str]:
    """Return the words that an index is asked for: rare ones, that spare more than they cost.

    The rarest tells which rows are read; another spares some of those, for its own being gathered.
    """
    worth: list[str] = []
    left: float = SAMPLED_ROWS
    for count, word in sorted(counted):
        if count <= RARE and (not worth or left * row >= count):
            worth.append(word)
            # Of a word that the latest rows do not have, they do not tell how many others do.
            left *= (count or RARE) / SAMPLED_ROWS
    return worth


def _in_sight(size: int) -> ColumnElement[int]:
    """Return a number that PostgreSQL's planner sees."""
    return literal_column(str(size), Integer)


def _word(place: int) -> str:
    return f"word_{place}"


@lru_cache(maxsize=1024)
def _sampled(search: Search, kind: Kind, size: int, words: int) -> Query:
    """Build the statement that counts the latest rows, those that fit, and those of each word."""
    latest = replace(kind, sort=f"-{next(iter(kind.listing.sorts))}", phase="first")
    has = [search.holds(_word(place)).label(_word(place)) for place in range(words)]
    rows = window(latest, _in_sight(size), [*has, and_(true(), *kind.conditions).label("is_asked")])
    each = [rows.c[column.name] for column in has]
    counted = [true(), and_(rows.c.is_asked, *each), *each]
    counts: list[Any] = [func.count().filter(condition) for condition in counted]
    return Query(select(*counts).select_from(rows))


@lru_cache(maxsize=1024)
def _walked(search: Search, kind: Kind, size: int) -> Query:
    """Build the statement of those that fit among the next rows of the list, in its order."""
    fits = and_(search.holds("words"), *kind.conditions).label("fits")
    rows = window(kind, _in_sight(size), [fits])
    return _shown(kind, select(rows).where(rows.c.fits).limit(page_rows()))


@lru_cache(maxsize=1024)
def _read_on(search: Search, kind: Kind) -> Query:
    """Build the statement of the next that fit in the order of the list, among what is found.

    A row is not read to be told that it is not among them, nor compared with the last page's end.
    """
    # As one, lest another index than that of the order be used for one of them.
    fits = case((and_(search.holds("words"), *kind.conditions), 1))
    found = window(kind, page_rows(), conditions=[search.is_among("asked"), fits])
    return _shown(kind, select(found))


@lru_cache(maxsize=1024)
def _looked_up(search: Search, kind: Kind, *, all_asked: bool) -> Query:
    """Build the statement that sorts those that fit among the rows that the index finds.

    Where it was asked for all of the words, a row has them all.
    """
    listing = kind.listing
    has_words = true() if all_asked else search.holds("words")
    fits = and_(listing.scope, Runs(kind).ahead(), has_words, *kind.conditions).label("fits")
    # Behind an OFFSET, nothing but the index can be used to find them.
    rows = Runs(kind, [fits], [search.is_found("asked")])
    found = rows.all().offset(literal_column("0")).subquery()
    order = rows.in_order(found.c.sort_key, found.c.tie)
    return _shown(kind, select(found).where(found.c.fits).order_by(*order).limit(page_rows()))


def _shown(kind: Kind, chosen: Select[Any]) -> Query:
    rows, listing = chosen.subquery(), kind.listing
    return Query(
        select(*listing.schema.columns, rows.c.sort_key, rows.c.tie)
        .join_from(rows, listing.row_id.class_, listing.row_id == rows.c.tie)
        .order_by(*Runs(kind).in_order(rows.c.sort_key, rows.c.tie)),
        shown=True,
    )


def init_app(app: Flask) -> None:
    app.extensions["frequencies"] = TTLCache(KNOWN, BELIEVED)
