"""Flask-Caching's place in this process: so many bytes of texts, those that were asked for last.

Its own counts answers instead of bytes, pickles them, and once it is full sorts them all for each.
"""

from threading import Lock
from typing import Any, Self

from cachetools import LRUCache
from flask import Flask
from flask_caching.backends.base import BaseCache

from app.http.answers import Text

# What Python needs for an answer beside its body.
ASIDE = 512


class Memory(BaseCache):
    """Texts by name; they are not changed, so no copy is made. A lifetime is not looked at."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.texts: LRUCache[str, Text] = LRUCache(most, lambda text: len(text.body) + ASIDE)
        self._lock = Lock()

    @classmethod
    def factory(cls, _app: Flask, _config: Any, _args: Any, kwargs: Any) -> Self:
        """Make one of CACHE_OPTIONS."""
        return cls(kwargs["most"])

    def get(self, key: str) -> Text | None:
        with self._lock:
            return self.texts.get(key)

    def set(self, key: str, value: Text, timeout: Any = None) -> bool:
        with self._lock:
            self.texts[key] = value
        return True

    def clear(self) -> bool:
        with self._lock:
            self.texts.clear()
        return True
