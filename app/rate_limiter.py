"""Counters for rate limits, with the ``limits`` package.

They are in Redis, or in memory if there is no Redis or it fails.
"""

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from threading import Lock
from typing import Any, NamedTuple

from flask import Flask, current_app
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.errors import RateLimited

View = Callable[..., Any]
HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
EXEMPT = "_rate_limit_exempt"
REDIS_TIMEOUT_SECONDS = 0.2
REDIS_OPTIONS: dict[str, Any] = {
    "socket_timeout": REDIS_TIMEOUT_SECONDS,
    "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
    "retry": Retry(NoBackoff(), 0),
    "wrap_exceptions": True,
}
REDIS_RETRY_INTERVAL_SECONDS = 5.0

_log = logging.getLogger(__name__)


class RateLimit(StrEnum):
    """The limits; each value is the name of the setting that holds the rate."""

    reads = "RATE_LIMIT_READS"
    writes = "RATE_LIMIT_WRITES"
    login = "RATE_LIMIT_LOGIN"
    login_account = "RATE_LIMIT_LOGIN_ACCOUNT"
    register = "RATE_LIMIT_REGISTER"
    register_account = "RATE_LIMIT_REGISTER_ACCOUNT"
    recovery = "RATE_LIMIT_RECOVERY"
    recovery_account = "RATE_LIMIT_RECOVERY_ACCOUNT"
    refresh = "RATE_LIMIT_REFRESH"
    refresh_account = "RATE_LIMIT_REFRESH_ACCOUNT"


class WindowStats(NamedTuple):
    """The state of one counter."""

    limit: int
    remaining: int
    reset_time: float

    def headers(self) -> dict[str, str]:
        """Return the response headers that report the state."""
        values = (self.limit, self.remaining, int(self.reset_time) + 1)
        return dict(zip(HEADERS, map(str, values), strict=True))


class Counters:
    """The counters of one application; with Redis, its processes share them."""

    def __init__(self, redis_url: str | None) -> None:
        self.memory = MovingWindowRateLimiter(MemoryStorage())
        redis = RedisStorage(redis_url, **REDIS_OPTIONS) if redis_url else None
        self._redis = MovingWindowRateLimiter(redis) if redis else None
        self._lock = Lock()
        self._redis_failed = False
        self._retry_at = 0.0

    def hit(self, item: RateLimitItem, *key: str) -> tuple[bool, WindowStats]:
        """Count one request. Return whether the limit allows it, and the state after it."""
        if self._redis is not None and self._should_try_redis():
            try:
                result = _hit(self._redis, item, *key)
            except StorageError as error:
                self._record(error)
            else:
                self._record(None)
                return result
        return _hit(self.memory, item, *key)

    def _should_try_redis(self) -> bool:
        if not self._redis_failed:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._retry_at:
                return False
            # Of the concurrent requests, only this one waits for Redis.
            self._retry_at = now + REDIS_RETRY_INTERVAL_SECONDS
            return True

    def _record(self, error: StorageError | None) -> None:
        """Record whether Redis failed, and log when that changes."""
        if error is None and not self._redis_failed:
            return
        with self._lock:
            has_changed = self._redis_failed != (error is not None)
            self._redis_failed = error is not None
            self._retry_at = time.monotonic() + REDIS_RETRY_INTERVAL_SECONDS
        if has_changed and error:
            _log.warning(
                "Redis failed; each process counts rate limits in memory: %s", error.storage_error
            )
        elif has_changed:
            _log.warning("Redis works again; processes share the counters of rate limits.")


class RateLimiter:
    """A Flask extension that counts requests, each application's in counters of its own."""

    def init_app(self, app: Flask) -> None:
        """Create the counters of an application, unless RATELIMIT_ENABLED is off."""
        if app.config["RATELIMIT_ENABLED"]:
            items = {limit: parse_many(app.config[limit]) for limit in RateLimit}
            app.extensions["rate_limiter"] = Counters(app.config["REDIS_URL"]), items

    @staticmethod
    def exempt(view: View) -> View:
        """Exempt a view from the limits of reads and writes."""
        vars(view)[EXEMPT] = True
        return view

    @staticmethod
    def is_exempt(view: View | None) -> bool:
        """Return whether a view, or one that it wraps, is exempt."""
        return hasattr(view, EXEMPT)

    def hit(self, limit: RateLimit, *key: str) -> WindowStats | None:
        """Count one request, and return the window with the fewest requests left.

        Return None if the application has no rate limits. Raises RateLimited.
        """
        if "rate_limiter" not in current_app.extensions:
            return None
        counters, items = current_app.extensions["rate_limiter"]
        windows: list[WindowStats] = []
        for item in items[limit]:
            allowed, window = counters.hit(item, limit.name, *key)
            if not allowed:
                # Rounded up, so that waiting that long is enough.
                seconds = max(int(window.reset_time - time.time()) + 1, 1)
                raise RateLimited(seconds, headers=window.headers())
            windows.append(window)
        return min(windows, key=lambda window: window.remaining)

    def count_attempt(self, limit: RateLimit, action: str, account: int | str) -> None:
        """Count an attempt on an account: a user's id, or the name or address of an unknown user.

        The limit holds for all addresses together. Responses do not report what is left: it would
        reveal which name and address belong together. Raises RateLimited.
        """
        key = f"user {account}"
        if isinstance(account, str):
            # Hashed, because the storage must not contain personal data.
            key = blake2b(account.encode(errors="replace"), digest_size=16).hexdigest()
        self.hit(limit, action, key)


def _hit(
    limiter: MovingWindowRateLimiter, item: RateLimitItem, *key: str
) -> tuple[bool, WindowStats]:
    allowed = limiter.hit(item, *key)
    reset_time, remaining = limiter.get_window_stats(item, *key)
    return allowed, WindowStats(item.amount, max(remaining, 0) if allowed else 0, reset_time)
