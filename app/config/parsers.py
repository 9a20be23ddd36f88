"""Parsers of settings: each turns text into a value or raises ValueError with what it must be."""

import re
from collections.abc import Callable
from email.utils import parseaddr
from ipaddress import ip_address
from urllib.parse import urlsplit

from limits import parse_many
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
HOST_NAME_RE = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# Other paths would be encoded in links, and decoded in what the server gets.
PUBLIC_PATH_RE = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


def boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("must be 1 or 0")


def positive_integer(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text.strip()):
        raise ValueError("must be a positive integer")
    return int(text)


def non_negative_integer(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text.strip()):
        raise ValueError("must be an integer from 0 to 999")
    return int(text)


def host(text: str) -> str:
    """Parse an IP address, which may be in brackets, or a host name."""
    name = text.strip()
    try:
        return str(ip_address(name[1:-1] if re.fullmatch(r"\[.*:.*\]", name) else name))
    except ValueError:
        if name.replace(".", "").isdigit() or not HOST_NAME_RE.fullmatch(name):
            raise ValueError("must be an IP address such as 127.0.0.1 or ::, or a name") from None
    return name


def base_url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://api.example.com")
    return text.strip().rstrip("/")


def public_url(text: str) -> str:
    url = base_url(text)
    if not PUBLIC_PATH_RE.fullmatch(urlsplit(url).path):
        raise ValueError("must be a URL whose path has only letters, digits, -, _, ~, . and /")
    return url


def database_url(text: str) -> str:
    try:
        url = make_url(text.strip())
    except ArgumentError:
        raise ValueError("must be a URL such as postgresql://user:password@host/database") from None
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"postgresql+psycopg", "sqlite", "sqlite+pysqlite"}:
        raise ValueError("must start with sqlite:// or postgresql://")
    return url.render_as_string(hide_password=False)


def redis_url(text: str) -> str:
    return _url(text, {"redis", "rediss"}, "redis://127.0.0.1:6379/0")


def broker_url(text: str) -> str:
    schemes = {"amqp", "amqps", "redis", "rediss"}
    return _url(text, schemes, "amqp://user:password@host/vhost or redis://host/1")


def _url(text: str, schemes: set[str], example: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"must be a URL such as {example}")
    return text.strip()


def email_address(text: str) -> str:
    """Parse an address with an optional display name."""
    _, address = parseaddr(text)
    if not text.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        raise ValueError("must be an address such as Tasks <tasks@example.com>")
    return text.strip()


def rate_limit(text: str) -> str:
    try:
        limits = parse_many(text)
    except ValueError:
        limits = []
    if not limits or any(limit.amount < 1 or limit.multiples < 1 for limit in limits):
        raise ValueError("must be a rate such as 5 per minute, or 10 per 15 minutes")
    return text.strip()


def host_names(text: str) -> list[str]:
    names = _split(text.lower())
    if not all(re.fullmatch(r"\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name) for name in names):
        raise ValueError("must be comma-separated host names such as api.example.com")
    return names


def origins(text: str) -> list[str]:
    values = _split(text.lower())
    # Apps in a web view and browser extensions have schemes of their own, such as capacitor://.
    origin = r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
    if values != ["*"] and not all(re.fullmatch(origin, value) for value in values):
        raise ValueError("must be comma-separated origins such as https://app.example.com, or *")
    return values


def header_names(text: str) -> str:
    names = _split(text.lower())
    if not names or not all(re.fullmatch(r"[a-z0-9-]+", name) for name in names):
        raise ValueError("must be comma-separated header names such as authorization,content-type")
    return ",".join(names)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of a choice, in upper or lower case."""

    def parse(text: str) -> str:
        for word in words:
            if word.lower() == text.strip().lower():
                return word
        raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")

    return parse
