"""How often one may ask: each user, or where there is none each address, and about each account.

Flask-Limiter's storage and strategy count. When they do is decided here, because whom a request
acts for is known only once its token has been proved.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse_many
from limits.strategies import RateLimiter

from app.errors import RateLimited
from app.extensions import limiter
from app.http.context import itself
from app.http.limit_storage import SCHEME, hit
from app.http.promises import Promise, View, promise, promised

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
READING = {"GET", "HEAD", "OPTIONS"}


class Rule(StrEnum):
    """What is counted; its value is the setting that says how often."""

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


class Window(NamedTuple):
    """How one count stands: how many may come, how many are left, and when there is one more."""

    limit: int
    remaining: int
    resets_at: float


@dataclass(frozen=True)
class Counter:
    """Counts what one application is asked."""

    strategy: RateLimiter
    items: Mapping[Rule, Sequence[RateLimitItem]]

    def hit(self, rule: Rule, *who: str) -> Window:
        """Count once, and return the window that is nearest to its end. Raises RateLimited."""
        windows = []
        for item in self.items[rule]:
            admitted, resets_at, remaining = hit(self.strategy, item, *who)
            window = Window(item.amount, max(remaining, 0) if admitted else 0, resets_at)
            if not admitted:
                g.window = window
                raise RateLimited(max(int(resets_at - time.time()) + 1, 1))
            windows.append(window)
        return min(windows, key=lambda window: window.remaining)


def limited(rule: Rule) -> Callable[[View], View]:
    """Have each address call a view no oftener than ``rule`` says, whoever it is."""
    return lambda view: promise(view, limit=rule)


def count_address() -> None:
    """Count a request for its address, unless the door will tell whose it is."""
    asked = itself(request)
    view = itself(current_app).view_functions.get(asked.endpoint or "")
    told = promised(view) if view else Promise()
    # What a preflight asks is not yet done.
    if asked.method == "OPTIONS" or not (told.limit or told.tokens):
        count_caller(None)
    elif told.limit:
        _count(Rule(told.limit), str(asked.endpoint), _network(asked.remote_addr))


def count_caller(user_id: int | None) -> None:
    """Count a request for its user, or for its address where it has proved to be nobody's."""
    if _counter() is None or "window" in g:
        return
    asked = itself(request)
    rule = Rule.reads if asked.method in READING else Rule.writes
    who = _network(asked.remote_addr) if user_id is None else f"user {user_id}"
    _count(rule, rule.name, who)


def count_account(rule: Rule, act: str, account: int | str) -> None:
    """Count an attempt at an account, named by its id or, where there is none, as it was asked for.

    How many are left is told only to whoever has none: it would tell which names are one account's.
    """
    if counter := _counter():
        counter.hit(rule, act, _account(account))


def tell(response: Response) -> Response:
    """Say how many requests are left."""
    if window := g.get("window"):
        told = (window.limit, window.remaining, int(window.resets_at) + 1)
        for name, value in zip(HEADERS, told, strict=True):
            response.headers[name] = str(value)
    return response


def _counter() -> Counter | None:
    held: Counter | None = itself(current_app).extensions.get("rate_limits")
    return held


def _count(rule: Rule, *who: str) -> None:
    if counter := _counter():
        g.window = counter.hit(rule, *who)


def _account(account: int | str) -> str:
    """Name an account in the storage, where no name or address of a person belongs."""
    if isinstance(account, int):
        return f"user {account}"
    return hashlib.blake2b(account.encode(errors="replace"), digest_size=16).hexdigest()


@lru_cache(maxsize=4096)
def _network(address: str | None) -> str:
    """Return what stands for an address: one client may have a whole /64 of IPv6."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def init_app(app: Flask) -> None:
    """Count requests, unless RATELIMIT_ENABLED says not to."""
    if not app.config["RATELIMIT_ENABLED"]:
        return
    redis = app.config["REDIS_URL"]
    app.config["RATELIMIT_STORAGE_URI"] = f"{SCHEME}+{redis}" if redis else "memory://"
    # Held to be known already, Flask-Limiter adds no hooks of its own.
    app.extensions["limiter"] = {limiter}
    limiter.init_app(app)
    items = {rule: parse_many(app.config[rule]) for rule in Rule}
    app.extensions["rate_limits"] = Counter(limiter.limiter, items)
    app.before_request(count_address)
    app.after_request(tell)
