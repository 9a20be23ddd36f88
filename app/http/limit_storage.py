"""Where requests are counted: in Redis, and in this process's memory while Redis is away."""

import logging
import time
from threading import Lock
from typing import Any

from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import RateLimiter
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

SCHEME = "task-api"
# What a request may lose to a Redis that does not answer, in seconds, and how often one may.
TIMEOUT = 0.2
INTERVAL = 5.0

_log = logging.getLogger(__name__)


def hit(strategy: RateLimiter, item: RateLimitItem, *who: str) -> tuple[bool, float, int]:
    """Count once. Return whether that is admitted, when there is one more, and how many are left.

    The strategy is one of a moving window.
    """
    storage = strategy.storage
    if not isinstance(storage, FallbackStorage):
        return strategy.hit(item, *who), *strategy.get_window_stats(item, *who)
    key, expiry = item.key_for(*who), item.get_expiry()
    admitted, start, count = storage.acquire_and_look(key, item.amount, expiry)
    return admitted, start + expiry, item.amount - count


class FallbackStorage(RedisStorage):
    """Counts in Redis; while that fails, counts here, and asks again every INTERVAL seconds.

    Flask-Limiter's own fallback fails those requests that were waiting while another one noticed.
    """

    STORAGE_SCHEME = [f"{SCHEME}+redis", f"{SCHEME}+rediss"]

    def __init__(self, uri: str, **options: Any) -> None:
        options |= {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        options |= {"retry": Retry(NoBackoff(), 0)}
        super().__init__(uri.removeprefix(f"{SCHEME}+"), **options)
        self._memory = MemoryStorage()
        self._lock = Lock()
        self._failing = False
        self._ask_again_at = 0.0

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        if self._is_worth_asking():
            try:
                acquired = super().acquire_entry(key, limit, expiry, amount)
            except RedisError as error:
                self._note_failure(error)
            else:
                self._note_answer()
                return acquired
        return self._memory.acquire_entry(key, limit, expiry, amount)

    def acquire_and_look(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        """Count once, and tell how the window stands then: by one journey instead of two."""
        if not self._failing:
            try:
                return self._acquire_and_look(key, limit, expiry)
            except RedisError as error:
                self._note_failure(error)
        return self.acquire_entry(key, limit, expiry), *self.get_moving_window(key, limit, expiry)

    def _acquire_and_look(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        now = time.time()
        connection: Any = self.get_connection()
        journey = connection.pipeline(transaction=False)
        counted = self.prefixed_key(key)
        journey.evalsha(self.lua_acquire_moving_window.sha, 1, counted, now, limit, expiry, 1)
        journey.evalsha(self.lua_moving_window.sha, 1, counted, now - expiry, limit)
        acquired, window = journey.execute(raise_on_error=False)
        # A Redis that does not know a script is told it by the call that is made of it alone.
        if isinstance(acquired, NoScriptError):
            acquired = super().acquire_entry(key, limit, expiry)
            window = super().get_moving_window(key, limit, expiry)
        elif isinstance(window, NoScriptError):
            window = super().get_moving_window(key, limit, expiry)
        for failed in (acquired, window):
            if isinstance(failed, RedisError):
                raise failed
        start, count = window or (now, 0)
        return bool(acquired), float(start), int(count)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        if not self._failing:
            try:
                return super().get_moving_window(key, limit, expiry)
            except RedisError as error:
                self._note_failure(error)
        return self._memory.get_moving_window(key, limit, expiry)

    def _is_worth_asking(self) -> bool:
        if not self._failing:
            return True
        now = time.monotonic()
        if now < self._ask_again_at:
            return False
        # Of the requests at hand, this one asks; the others need not wait for it.
        self._ask_again_at = now + INTERVAL
        return True

    def _note_failure(self, error: RedisError) -> None:
        self._ask_again_at = time.monotonic() + INTERVAL
        with self._lock:
            is_new, self._failing = not self._failing, True
        if is_new:
            _log.warning("Redis fails; each process limits rates by its own counts: %s", error)

    def _note_answer(self) -> None:
        if not self._failing:
            return
        with self._lock:
            is_new, self._failing = self._failing, False
        if is_new:
            _log.warning("Redis answers again; rates are limited by its counts.")
