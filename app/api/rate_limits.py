"""Rate limits of requests, and the headers that report them.

All requests count for their user, or for the address of the client if they are not authenticated.
Sensitive routes have a limit per address of their own.
"""

from collections.abc import Callable
from functools import lru_cache, partial, wraps
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from flask import Flask, Response, current_app, g, request

from app.api.operation_meta import View, annotate
from app.extensions import limiter
from app.rate_limiter import RateLimit

READ_METHODS = {"GET", "HEAD"}


def rate_limit(limit: RateLimit) -> Callable[[View], View]:
    """Limit the calls of a view per address, where the decorator stands.

    Below ``blp.arguments`` it counts only valid requests.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            g.rate_limit_window = limiter.hit(limit, str(request.endpoint), client_address())
            return view(*args, **kwargs)

        return annotate(wrapper, limit=limit)

    return decorator


def client_address() -> str:
    """Return the address of the client; for IPv6 its /64 network, which one client may have."""
    return _network(request.remote_addr or "")


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def limit_request(current_user_id: Callable[[], int | None]) -> None:
    """Count a read or a write, but not a CORS preflight request."""
    view = current_app.view_functions.get(request.endpoint or "")
    if request.method == "OPTIONS" or limiter.is_exempt(view):
        return
    limit = RateLimit.reads if request.method in READ_METHODS else RateLimit.writes
    user_id = current_user_id()
    key = client_address() if user_id is None else f"user {user_id}"
    g.rate_limit_window = limiter.hit(limit, key)


def add_headers(response: Response) -> Response:
    """Report how many requests are left, unless the response to an exceeded limit does."""
    if window := g.get("rate_limit_window"):
        for name, value in window.headers().items():
            response.headers.setdefault(name, value)
    return response


def init_app(app: Flask, current_user_id: Callable[[], int | None]) -> None:
    """Limit the requests to an application, unless RATELIMIT_ENABLED is off.

    ``current_user_id`` returns the user that the current request counts for, if there is one.
    """
    limiter.init_app(app)
    if app.config["RATELIMIT_ENABLED"]:
        app.before_request(partial(limit_request, current_user_id))
        app.after_request(add_headers)
