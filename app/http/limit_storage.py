"""Where requests are counted: in Redis, and in this process's memory while Redis is away."""

import logging
import time
from threading import Lock
from typing import Any

from limits.storage import MemoryStorage, RedisStorage
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

SCHEME = "task-api"
# What a request may lose to a Redis that does not answer, in seconds, and how often one may.
TIMEOUT = 0.2
INTERVAL = 5.0

_log = logging.getLogger(__name__)


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
