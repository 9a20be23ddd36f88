"""A whole installation on this machine, each part of which can be stopped and restarted."""

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import orjson
import psycopg

from benchmarks.consistency import PASSWORD, USERS
from benchmarks.server import Client, Server, started
from tests.celery import Celery, worker
from tests.redis import Redis, redis
from tests.security.cluster import Cluster, cluster
from tests.smtp import SmtpServer, listening

NAMES = [f"faults{number}" for number in range(USERS)]
# Tasks of the first user, so that exports take a while.
BATCHES, BATCH_SIZE = 20, 100
TIMEOUT_SECONDS = 60
LIMITS = ("READS", "WRITES", "LOGIN", "LOGIN_ACCOUNT", "REGISTER", "RECOVERY")
SETTINGS = {
    # Rate limits are on but never reached: their storage is one of the parts that fail.
    "RATELIMIT_ENABLED": "1",
    **{f"RATE_LIMIT_{name}": "1000000 per minute" for name in LIMITS},
    "MAIL_SERVER": "127.0.0.1",
    "MAIL_USE_TLS": "0",
    "LOG_FORMAT": "json",
}


@dataclass(frozen=True)
class Installation:
    """The running parts; ``redis`` stores rate limits, ``broker`` carries Celery's messages."""

    postgresql: Cluster
    redis: Redis
    broker: Redis
    mailbox: SmtpServer
    server: Server
    celery: Celery
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def log_in(self) -> None:
        """Get new access tokens for all users; they expire after 15 minutes."""
        for name in NAMES:
            with Client(self.server.port) as client:
                client.log_in(name, PASSWORD)
                self.headers[name] = client.headers

    def client(self, name: str) -> Client:
        """Return a new client of a user who is logged in."""
        client = Client(self.server.port)
        client.headers = dict(self.headers[name])
        return client

    def count(self, statement: str) -> int:
        """Return the number that a statement selects directly from the database."""
        with psycopg.connect(self.server.database_url, autocommit=True) as connection:
            row = connection.execute(statement).fetchone()
            return int(row[0]) if row else 0

    def execute(self, statement: str) -> None:
        """Execute a statement directly on the database."""
        with psycopg.connect(self.server.database_url, autocommit=True) as connection:
            connection.execute(statement)

    def finished_messages(self) -> list[int]:
        """Return the outbox message of each attempt that Celery logged as finished."""
        lines = (line for line in self.celery.output().splitlines() if line.startswith("{"))
        records = (orjson.loads(line) for line in lines)
        return [record["message_id"] for record in records if record.get("outcome") == "done"]


@contextmanager
def installed() -> Iterator[Installation]:
    """Start all parts and register users who are mailed about each task that they create."""
    with ExitStack() as stack:
        enter = stack.enter_context
        postgresql, limits, broker = enter(cluster()), enter(redis()), enter(redis())
        mailbox = enter(listening())
        settings = SETTINGS | {
            "REDIS_URL": limits.url,
            "CELERY_BROKER_URL": broker.url,
            "MAIL_PORT": str(mailbox.port),
        }
        server = enter(started(postgresql.url, **settings))
        folder = Path(enter(tempfile.TemporaryDirectory()))
        celery = enter(worker(folder, server.environ, size=2))
        installation = Installation(postgresql, limits, broker, mailbox, server, celery)
        _register_users(installation)
        yield installation


def wait_for(condition: Callable[[], Any], what: str) -> None:
    """Wait until a condition is true. Raises TimeoutError."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


def text_of(mail: EmailMessage) -> str:
    """Return the text of a mail with plain line ends."""
    body: Any = mail.get_body(("plain",))
    return "\n".join(body.get_content().splitlines())


def _register_users(installation: Installation) -> None:
    mails = installation.mailbox.received
    with Client(installation.server.port) as client:
        for name in NAMES:
            user = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            _require(client.call("POST", "/auth/register", user), 201)
        wait_for(lambda: len(mails) == len(NAMES), "the mails to new users")
        for mail in mails:
            [token] = re.findall(r"^[\w-]{43}$", text_of(mail), re.MULTILINE)
            _require(client.call("POST", "/auth/email/verify", {"token": token}), 204)
    installation.log_in()
    with installation.client(NAMES[0]) as client:
        _create_tasks(client)
    for name in NAMES:
        with installation.client(name) as client:
            _require(client.call("PATCH", "/auth/me", {"notify_on_create": True}), 200)


def _create_tasks(client: Client) -> None:
    create = {"op": "create", "body": {"title": "Old task", "description": "x" * 1000}}
    batch = {"atomic": True, "operations": [create] * BATCH_SIZE}
    for _ in range(BATCHES):
        _require(client.call("POST", "/tasks/batch", batch), 200)


def _require(response: tuple[int, Any], status: int) -> None:
    if response[0] != status:
        raise RuntimeError(response)
