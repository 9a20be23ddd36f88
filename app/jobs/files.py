"""Files of jobs, stored in the database so that every process can read them.

A file is a sequence of pieces ordered by number; numbers may have gaps.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import IO, Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from app.extensions import db
from app.jobs.models import FilePiece, JobFile

PIECE_SIZE = 256 * 1024

_of_file = (FilePiece.job_id == bindparam("job_id"), FilePiece.file == bindparam("of_file"))
NEXT_PIECE = (
    select(FilePiece.number, FilePiece.data)
    .where(*_of_file, FilePiece.number > bindparam("after"))
    .order_by(FilePiece.number)
    .limit(1)
)
LENGTH = select(func.coalesce(func.sum(func.length(FilePiece.data)), 0)).where(*_of_file)
DELETE = delete(FilePiece).where(*_of_file)

Connect = Callable[[], AbstractContextManager[Connection]]


def add_piece(job_id: int, file: JobFile, number: int, data: bytes) -> None:
    """Add a piece to a file."""
    piece = {"job_id": job_id, "file": file, "number": number, "data": data}
    db.session.execute(insert(FilePiece), [piece])


def store(job_id: int, file: JobFile, content: IO[bytes]) -> None:
    """Store a whole file, piece by piece."""
    for number, data in enumerate(_split(content)):
        add_piece(job_id, file, number, data)


def remove(job_id: int, file: JobFile) -> None:
    """Delete a file, if it exists."""
    db.session.connection().execute(DELETE, _params(job_id, file))


def length(job_id: int, file: JobFile) -> int:
    """Return the length of a file in bytes, without reading it."""
    return db.session.scalar(LENGTH, _params(job_id, file)) or 0


def open_file(job_id: int, file: JobFile) -> IO[bytes]:
    """Open a file for reading in the current session."""
    pieces = _pieces(job_id, file, lambda: nullcontext(db.session.connection()))
    return io.BufferedReader(_PieceReader(pieces), PIECE_SIZE)


def reopen(content: IO[bytes]) -> IO[bytes]:
    """Return a reader of a file from its start; closing the reader leaves the file open."""
    content.seek(0)
    return io.BufferedReader(_PieceReader(_split(content)), PIECE_SIZE)


def stream(job_id: int, file: JobFile) -> Iterator[bytes]:
    """Yield a file; no connection is in use while a slow client receives a piece."""
    # The response is sent outside of the application context.
    return _pieces(job_id, file, db.engine.connect)


def _pieces(job_id: int, file: JobFile, connect: Connect) -> Iterator[bytes]:
    params = _params(job_id, file) | {"after": -1}
    while True:
        with connect() as connection:
            piece = connection.execute(NEXT_PIECE, params).first()
        if piece is None:
            return
        params["after"] = piece.number
        yield piece.data


def _split(content: IO[bytes]) -> Iterator[bytes]:
    return iter(partial(content.read, PIECE_SIZE), b"")


def _params(job_id: int, file: JobFile) -> dict[str, Any]:
    return {"job_id": job_id, "of_file": file}


class _PieceReader(io.RawIOBase):
    """A raw stream over pieces, which holds one at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
