"""Jobs that tests hand over to real workers, which are other processes."""

import time
from pathlib import Path

from app.audit import services as audit
from app.audit.models import Event
from app.outbox.work import job


@job("probe.write")
def write(number: int) -> None:
    audit.record(Event.data_exported, user_id=number, actor_id=None)


@job("probe.stall")
def stall(folder: str) -> None:
    """Write, and at the first attempt go on for longer than anybody waits."""
    audit.record(Event.data_exported, user_id=1, actor_id=None)
    begun = len(list(Path(folder).glob("attempt-*")))
    (Path(folder) / f"attempt-{begun}").touch()
    if begun == 0:
        time.sleep(600)


@job("probe.linger")
def linger(folder: str) -> None:
    """Write, once somebody says so."""
    (Path(folder) / "lingering").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    audit.record(Event.data_exported, user_id=1, actor_id=None)
