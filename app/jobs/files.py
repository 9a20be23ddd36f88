"""Files as rows: cut into pieces, written and read one piece at a time, by any process.

The number of a piece says where it stands; numbers may be left out.
"""

import io
from collections.abc import Iterator, Mapping
from typing import IO, Any

from sqlalchemy import Engine, bindparam, delete, func, insert, select

from app.extensions import db
from app.jobs.models import File, FilePiece

SIZE = 256 * 1024

_of_file = (FilePiece.job_id == bindparam("job_id"), FilePiece.file == bindparam("of_file"))
_following = (
    select(FilePiece.number, FilePiece.data)
    .where(*_of_file, FilePiece.number > bindparam("after"))
    .order_by(FilePiece.number)
    .limit(1)
)
_length = select(func.coalesce(func.sum(func.length(FilePiece.data)), 0)).where(*_of_file)
_remove = delete(FilePiece).where(*_of_file)


def add(job_id: int, file: File, number: int, data: bytes) -> None:
    """Add a piece to the transaction at hand."""
    piece = {"job_id": job_id, "file": file, "number": number, "data": data}
    db.session.execute(insert(FilePiece), [piece])


def store(job_id: int, file: File, content: IO[bytes]) -> None:
    """Add a whole file to the transaction at hand, piece by piece."""
    number = 0
    while data := content.read(SIZE):
        add(job_id, file, number, data)
        number += 1


def remove(job_id: int, file: File) -> None:
    """Remove a file, if there is any of it, in the transaction at hand."""
    db.session.connection().execute(_remove, _named(job_id, file))


def length(job_id: int, file: File) -> int:
    """Return how long a file is, without reading it."""
    found: int = db.session.scalar(_length, _named(job_id, file)) or 0
    return found


def open_file(job_id: int, file: File) -> IO[bytes]:
    """Open a file for reading, piece by piece, within the session at hand."""
    return io.BufferedReader(_Pieces(job_id, file), SIZE)


def send(job_id: int, file: File) -> Iterator[bytes]:
    """Yield a file; no connection is held while whoever takes it takes its time."""
    engine: Engine = db.engine
    return _sent(engine, _named(job_id, file))


def _sent(engine: Engine, named: Mapping[str, Any]) -> Iterator[bytes]:
    number = -1
    while True:
        with engine.connect() as connection:
            piece = connection.execute(_following, {**named, "after": number}).first()
        if piece is None:
            return
        number = piece.number
        yield piece.data


def _named(job_id: int, file: File) -> dict[str, Any]:
    return {"job_id": job_id, "of_file": file}


class _Pieces(io.RawIOBase):
    """The pieces of a file, of which one is held."""

    def __init__(self, job_id: int, file: File) -> None:
        super().__init__()
        self._named = _named(job_id, file)
        self._number = -1
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._held:
            given = {**self._named, "after": self._number}
            piece = db.session.execute(_following, given).first()
            if piece is None:
                return 0
            self._number, self._held = piece.number, memoryview(piece.data)
        count = min(len(target), len(self._held))
        target[:count] = self._held[:count]
        self._held = self._held[count:]
        return count
