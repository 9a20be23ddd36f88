"""Where requests are counted: in Redis, and in this process's memory while Redis is away."""

import logging
import time
from collections import deque
from hashlib import sha1
from threading import Lock
from typing import Any

from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import RateLimiter
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

SCHEME = "task-api"
# What a request may lose to a Redis that does not answer, in seconds, and how often one may.
TIMEOUT = 0.2
INTERVAL = 5.0

# The moments of those admitted are a list, the latest first. Tells whether one more is, since when
# the window lasts, and how many are in it.
COUNT = """
local now, most, seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest = redis.call('lindex', KEYS[1], -1)
while oldest and tonumber(oldest) < now - seconds do
    redis.call('rpop', KEYS[1])
    oldest = redis.call('lindex', KEYS[1], -1)
end
local count = redis.call('llen', KEYS[1])
if count >= most then
    return {0, oldest or ARGV[1], count}
end
redis.call('lpush', KEYS[1], ARGV[1])
redis.call('expire', KEYS[1], seconds)
return {1, oldest or ARGV[1], count + 1}
"""
COUNT_NAME = sha1(COUNT.encode(), usedforsecurity=False).hexdigest()  # as Redis names it

_log = logging.getLogger(__name__)


def hit(strategy: RateLimiter, item: RateLimitItem, *who: str) -> tuple[bool, float, int]:
    """Count once. Return whether that is admitted, when there is one more, and how many are left.

    The strategy is one of a moving window.
    """
    storage = strategy.storage
    if not isinstance(storage, FallbackStorage):
        return strategy.hit(item, *who), *strategy.get_window_stats(item, *who)
    key, expiry = item.key_for(*who), item.get_expiry()
    admitted, start, count = storage.count(key, item.amount, expiry)
    return admitted, start + expiry, item.amount - count


class Connections:
    """Connections out of a pool of redis-py's, each for one question at a time, and kept.

    What the client and its pool do around a question takes as long as Redis does.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: deque[Any] = deque()

    def ask(self, *question: Any) -> Any:
        """Return the answer. Raises RedisError."""
        try:
            return self._ask(self._idle.pop(), question)
        except (IndexError, Disconnected):  # none is idle, or it was closed meanwhile
            return self._ask(self._pool.get_connection(), question)

    def _ask(self, connection: Any, question: tuple[Any, ...]) -> Any:
        try:
            connection.send_command(*question)
            answer = connection.read_response()
        except ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:
            self._pool.release(connection)
            raise
        self._idle.append(connection)
        return answer


class FallbackStorage(RedisStorage):
    """Counts in Redis; while that fails, counts here, and asks again every INTERVAL seconds.

    Flask-Limiter's own fallback fails those requests that were waiting while another one noticed.
    """

    STORAGE_SCHEME = [f"{SCHEME}+redis", f"{SCHEME}+rediss"]

    def __init__(self, uri: str, **options: Any) -> None:
        options |= {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        options |= {"retry": Retry(NoBackoff(), 0)}
        super().__init__(uri.removeprefix(f"{SCHEME}+"), **options)
        client: Any = self.get_connection()
        self._connections = Connections(client.connection_pool)
        self._memory = MemoryStorage()
        self._lock = Lock()
        self._failing = False
        self._ask_again_at = 0.0

    def count(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        """Count once. Return whether that is admitted, and when the window began and what it has.

        Storages of limits need two calls for that, and two journeys.
        """
        if self._is_worth_asking():
            try:
                told = self._count(key, limit, expiry)
            except RedisError as error:
                self._note_failure(error)
            else:
                self._note_answer()
                return told
        admitted = self._memory.acquire_entry(key, limit, expiry)
        return admitted, *self._memory.get_moving_window(key, limit, expiry)

    def _count(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        asked = (1, self.prefixed_key(key), time.time(), limit, expiry)
        try:
            told = self._connections.ask("EVALSHA", COUNT_NAME, *asked)
        except NoScriptError:
            told = self._connections.ask("EVAL", COUNT, *asked)
        admitted, start, count = told
        return bool(admitted), float(start), int(count)

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
