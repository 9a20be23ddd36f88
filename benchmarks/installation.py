"""All that runs in production, on this machine, of our own, so that each part may be stopped."""

import re
import sys
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
from load import ACCOUNTS, PASSWORD
from server import ROOT, Client, Server, started

# The servers of the tests' own stand in a package of the root.
sys.path.append(str(ROOT))

from tests.celery import Celery, worker
from tests.redis import Redis, redis
from tests.security.cluster import Cluster, cluster
from tests.smtp import SmtpServer, listening

NAMES = [f"faults{number}" for number in range(ACCOUNTS)]
# What the first account has at the beginning, so that its exports take a while.
BATCHES, BATCH = 20, 100
PATIENCE = 60
LIMITS = ("READS", "WRITES", "LOGIN", "LOGIN_ACCOUNT", "REGISTER", "RECOVERY")
SETTINGS = {
    # Counted, and never reached: what counts is stopped too.
    "RATELIMIT_ENABLED": "1",
    **{f"RATE_LIMIT_{name}": "1000000 per minute" for name in LIMITS},
    "MAIL_SERVER": "127.0.0.1",
    "MAIL_USE_TLS": "0",
    "LOG_FORMAT": "json",
}


@dataclass(frozen=True)
class Installation:
    """The started parts; ``redis`` counts, ``broker`` carries messages."""

    postgresql: Cluster
    redis: Redis
    broker: Redis
    mailbox: SmtpServer
    server: Server
    celery: Celery
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)

    def log_in(self) -> None:
        """Have new tokens for all accounts, which live for a quarter of an hour."""
        for name in NAMES:
            with Client(self.server.port) as client:
                client.log_in(name, PASSWORD)
                self.tokens[name] = client.headers

    def client(self, name: str) -> Client:
        """Return a new client of an account that is logged in."""
        client = Client(self.server.port)
        client.headers = dict(self.tokens[name])
        return client

    def count(self, statement: str) -> int:
        """Return the only number that a statement gives, past the API."""
        with psycopg.connect(self.server.database_url, autocommit=True) as connection:
            row = connection.execute(statement).fetchone()
            return int(row[0]) if row else 0

    def run(self, statement: str) -> None:
        """Run a statement, past the API."""
        with psycopg.connect(self.server.database_url, autocommit=True) as connection:
            connection.execute(statement)

    def work_done(self) -> list[int]:
        """Return the item of each attempt that a worker says to have brought to its end."""
        lines = (line for line in self.celery.said().splitlines() if line.startswith("{"))
        told = (orjson.loads(line) for line in lines)
        return [line["item"] for line in told if line.get("outcome") == "done"]


@contextmanager
def installed() -> Iterator[Installation]:
    """Run all of it, with accounts that are mailed of each task that they create."""
    with ExitStack() as stack:
        enter = stack.enter_context
        postgresql, counts, broker = enter(cluster()), enter(redis()), enter(redis())
        mailbox = enter(listening())
        settings = SETTINGS | {
            "REDIS_URL": counts.url,
            "CELERY_BROKER_URL": broker.url,
            "MAIL_PORT": str(mailbox.port),
        }
        server = enter(started(postgresql.url, **settings))
        folder = Path(enter(tempfile.TemporaryDirectory()))
        celery = enter(worker(folder, server.environ, size=2))
        made = Installation(postgresql, counts, broker, mailbox, server, celery)
        _open_accounts(made)
        yield made


def wait_for(holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


def text_of(mail: EmailMessage) -> str:
    """Return the text of a mail, whatever its lines end with."""
    body: Any = mail.get_body(("plain",))
    return "\n".join(body.get_content().splitlines())


def _open_accounts(made: Installation) -> None:
    with Client(made.server.port) as client:
        for name in NAMES:
            account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            _require(client.call("POST", "/auth/register", account), 201)
        wait_for(lambda: len(made.mailbox.received) == len(NAMES), "the mails of new accounts")
        for mail in made.mailbox.received:
            [token] = re.findall(r"^[\w-]{43}$", text_of(mail), re.MULTILINE)
            _require(client.call("POST", "/auth/email/verify", {"token": token}), 204)
    made.log_in()
    for name in NAMES:
        with made.client(name) as client:
            if name == NAMES[0]:
                _fill(client)
            _require(client.call("PATCH", "/auth/me", {"notify_on_create": True}), 200)


def _fill(client: Client) -> None:
    create = {"op": "create", "body": {"title": "Was there before", "description": "x" * 1000}}
    batch = {"atomic": True, "operations": [create] * BATCH}
    for _ in range(BATCHES):
        _require(client.call("POST", "/tasks/batch", batch), 200)


def _require(answer: tuple[int, Any], status: int) -> None:
    if answer[0] != status:
        raise RuntimeError(answer)
