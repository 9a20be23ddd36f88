"""SQLite connections."""

from typing import Any

from sqlalchemy import Engine, event

from app.db.write_lock import SqliteWriteLock

# Execution option of the engine that holds its write lock.
WRITE_LOCK = "sqlite_write_lock"
# SQLite maps at most this much of a file into memory, unless compiled to map less.
MAX_MMAP_BYTES = 0x7FFF0000


def configure(engine: Engine, timeout: float) -> None:
    """Set the pragmas of each connection, and give a file its write lock."""
    event.listen(engine, "connect", _set_pragmas)
    path = engine.url.database
    if path and path != ":memory:" and not path.startswith("file:"):
        engine.update_execution_options(**{WRITE_LOCK: SqliteWriteLock(path, timeout)})


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit survives a crash of the process; the last ones may not survive a power loss.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Searches read scattered pages; copying each one takes longer than reading from it.
    connection.execute(f"PRAGMA mmap_size = {MAX_MMAP_BYTES}")
