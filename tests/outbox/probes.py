"""Handlers that tests run in real worker processes."""

import time
from pathlib import Path

from app.audit import services as audit
from app.audit.models import Event
from app.outbox.queue import handler


@handler("probe.write")
def write(number: int) -> None:
    audit.record(Event.data_exported, user_id=number, actor_id=None)


@handler("probe.stall")
def stall(folder: str) -> None:
    """Record an event; block forever in the first attempt."""
    audit.record(Event.data_exported, user_id=1, actor_id=None)
    previous = len(list(Path(folder).glob("attempt-*")))
    (Path(folder) / f"attempt-{previous}").touch()
    if previous == 0:
        time.sleep(600)


@handler("probe.linger")
def linger(folder: str) -> None:
    """Record an event once the file ``go`` exists."""
    (Path(folder) / "lingering").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    audit.record(Event.data_exported, user_id=1, actor_id=None)
