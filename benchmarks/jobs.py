"""Benchmark of imports and exports: a long file of each format, over HTTP.

    pipenv run python -m benchmarks.jobs --rows 100000 [--database SERVER]

Prints a JSON object: for each format the seconds and rows per second of the import and the export,
and by how many MiB the only worker process, which also runs the jobs, grew at most.
"""

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any

from benchmarks.server import Client, Server, started

CREDENTIALS = {"username": "ada", "password": "correct horse battery"}
MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "icalendar": "text/calendar"}
FRAMES = {
    "json": ("[", "\n]"),
    "csv": ("title,description,priority,due_at\r\n", ""),
    "icalendar": ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "END:VCALENDAR\r\n"),
}
NOTE = "water the plants on the balcony and in the hall, twice a week in summer; less in winter"
WARM_UP_ROWS = 2000
READ_SIZE = 1 << 16


def file_parts(name: str, rows: int) -> Iterator[str]:
    """Yield the text of a file with so many tasks."""
    begin, end = FRAMES[name]
    yield begin
    for number in range(rows):
        title, text = f"Task {number}", f"{number}: {NOTE}"
        if name == "json":
            task = {"title": title, "description": text, "due_at": "2030-01-31T09:00:00Z"}
            yield f"{',' if number else ''}\n{json.dumps(task)}"
        elif name == "csv":
            yield f'{title},"{text}",high,2030-01-31T09:00:00Z\r\n'
        else:
            yield f"BEGIN:VTODO\r\nUID:{number}\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:{title}\r\n"
            yield f"DESCRIPTION:{text}\r\nDUE:20300131T090000Z\r\nEND:VTODO\r\n"
    yield end


@contextmanager
def memory_samples(server: Server) -> Iterator[list[float]]:
    """Sample the MiB of anonymous memory of the worker; a memory-mapped database is not counted."""
    [worker] = server.workers()
    status, samples, done = Path(f"/proc/{worker}/status"), [0.0], Event()

    def sample() -> None:
        while not done.wait(0.02):
            [kilobytes] = re.findall(r"RssAnon:\s+(\d+) kB", status.read_text())
            samples.append(int(kilobytes) / 1024)

    thread = Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def wait_for_job(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """Wait until a job has succeeded. Raises RuntimeError if it fails."""
    while job["finished_at"] is None:
        time.sleep(0.1)
        status, job = client.call("GET", f"/jobs/{job['id']}")
        if status != 200:
            raise RuntimeError(job)
    if job["state"] != "succeeded":
        raise RuntimeError(job)
    return job


def upload(client: Client, name: str, file: IO[bytes], length: int) -> dict[str, Any]:
    """Upload a file and wait until it is imported."""
    headers = {"Content-Type": MEDIA_TYPES[name], "Content-Length": str(length)}
    client.connection.request("POST", "/api/v1/imports", file, client.headers | headers)
    response = client.connection.getresponse()
    return wait_for_job(client, json.loads(response.read()))


def import_rows(client: Client, name: str, rows: int) -> None:
    """Write a file with so many tasks and import it."""
    with tempfile.TemporaryFile() as file:
        for text in file_parts(name, rows):
            file.write(text.encode())
        length = file.tell()
        file.seek(0)
        job = upload(client, name, file, length)
    if job["progress"] != {"done": rows, "total": rows}:
        raise RuntimeError(job)


def download(client: Client, job: dict[str, Any]) -> int:
    """Download the result of a job and return its size in bytes."""
    path = f"/api/v1/jobs/{job['id']}/result"
    client.connection.request("GET", path, headers=client.headers)
    response = client.connection.getresponse()
    size = 0
    while chunk := response.read(READ_SIZE):
        size += len(chunk)
    return size


def measure(server: Server, name: str, rows: int) -> dict[str, float]:
    """Import and export so many tasks and return the figures."""
    with Client(server.port) as client:
        client.call("POST", "/auth/register", CREDENTIALS | {"email": "ada@example.com"})
        client.log_in(**CREDENTIALS)
        with memory_samples(server) as before:
            import_rows(client, name, WARM_UP_ROWS)
        start = time.perf_counter()
        with memory_samples(server) as importing:
            import_rows(client, name, rows)
        middle = time.perf_counter()
        with memory_samples(server) as exporting:
            job = wait_for_job(client, client.call("POST", "/exports", {"format": name})[1])
            size = download(client, job)
        end = time.perf_counter()
    return {
        "import_seconds": round(middle - start, 1),
        "imported_per_second": round(rows / (middle - start)),
        "import_grew_mib": round(max(importing) - max(before), 1),
        "export_seconds": round(end - middle, 1),
        "exported_per_second": round((rows + WARM_UP_ROWS) / (end - middle)),
        "export_grew_mib": round(max(exporting) - max(before), 1),
        "result_mib": round(size / 2**20, 1),
    }


def main() -> None:
    """Measure each format on a new server and print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--database", help="a PostgreSQL server; SQLite by default")
    arguments = parser.parse_args()
    report = {}
    for name in MEDIA_TYPES:
        with started(arguments.database, WEB_CONCURRENCY="1") as server:
            report[name] = measure(server, name, arguments.rows)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
