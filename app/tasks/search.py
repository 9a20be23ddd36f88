"""What a search goes by: the words of a text, cut alike for what is stored and what is asked.

A word is a run of letters and digits, without case and accents, and is found by its beginnings.
Any other sign stands for itself, and a run of signs is found by any part of it.

Each word is stored behind the number of the list it is in, ``12:milk``: an index of such words is
read no further than one account's, whatever others write.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest
from unicodedata import category, combining, normalize

# At four bytes a character, with the number before it, what a word of a tsvector holds.
LONGEST_WORD = 500
# A run of n signs is stored as n words of at most this length: a megabyte at most, as a tsvector.
LONGEST_SIGNS = 8

LAST = "\U0010ffff"
SURROGATES = 0xD800
_WORD = re.compile(r"[a-z0-9]+")
_SIGNS = re.compile(r"[^\sA-Za-z0-9]+")
# The virama, the nukta and kana's voicing make another letter, as marks without a class do.
_LETTER_MAKING = {0, 7, 8, 9}
_STROKES = str.maketrans("đħıłøŧ", "dhilot")
_ESCAPES = str.maketrans({sign: f"!{sign}" for sign in "!%_"})
_IN_TSQUERY = str.maketrans({"'": "''", "\\": "\\\\"})


def words(text: str) -> list[str]:
    """Return the words of a text, sorted; none of them is the beginning of another."""
    found = _words_of_ascii(text) if text.isascii() else _words_of_any(text)
    ordered = sorted(found)
    return [
        word
        for word, following in zip_longest(ordered, ordered[1:], fillvalue="")
        if not following.startswith(word)
    ]


def _words_of_ascii(text: str) -> set[str]:
    """The same as of any text, in a tenth of the time."""
    found = {word[:LONGEST_WORD] for word in _WORD.findall(text.lower())}
    for signs in _SIGNS.findall(text):
        found.update(_parts(signs))
    return found


def _words_of_any(text: str) -> set[str]:
    found: set[str] = set()
    for kind, run in groupby(_by_kind(normalize("NFC", text)), key=lambda pair: pair[0]):
        characters = "".join(character for _, character in run)
        if kind == "word":
            found.add(_fold(characters)[:LONGEST_WORD])
        elif kind == "signs":
            found.update(_parts(characters))
    return found


def _parts(signs: str) -> Iterator[str]:
    return (signs[start : start + LONGEST_SIGNS] for start in range(len(signs)))


def listed_words(owner_id: int, text: str) -> list[str]:
    """Return the words of a text in one account's list."""
    return [f"{owner_id}:{word}" for word in words(text)]


def stored_words(owner_id: int, title: str, description: str | None) -> str:
    """Return the words of a task as they are stored, separated by spaces."""
    return " ".join(listed_words(owner_id, f"{title} {description or ''}"))


def pattern(listed: Iterable[str]) -> str:
    """Return what stored words are LIKE that begin with each of these; ``!`` escapes.

    One pattern will do for them all, because they are sorted on both sides. Within an account's
    list its number and a colon are found where a word begins and nowhere else.
    """
    return f"%{'%'.join(word.translate(_ESCAPES) for word in listed)}%"


def fts5_words(listed: Iterable[str]) -> str:
    """Return, for SQLite, each word with the first that is behind all that begin with it."""
    return json.dumps([(word, _behind_all(word)) for word in listed])


def _behind_all(word: str) -> str:
    """Return the first word, by code points, that is behind all that begin with ``word``."""
    start = word.rstrip(LAST)
    last = ord(start[-1]) + 1
    return start[:-1] + chr(0xE000 if last == SURROGATES else last)


def tsquery(listed: Iterable[str]) -> str:
    """Return PostgreSQL's tsquery for words that begin with each of these."""
    return " & ".join(f"'{word.translate(_IN_TSQUERY)}':*" for word in listed)


def _by_kind(text: str) -> Iterator[tuple[str, str]]:
    kind = "space"
    for character in text:
        if character.isalnum():
            kind = "word"
        elif character.isspace():
            kind = "space"
        elif kind != "word" or not category(character).startswith("M"):
            kind = "signs"
        yield kind, character


def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    folded = normalize("NFD", word).casefold().translate(_STROKES)
    return normalize("NFC", "".join(c for c in folded if combining(c) in _LETTER_MAKING))
