"""Import a long file of each format and export it again, over HTTP: how fast, in how much memory.

    python benchmarks/jobs.py --rows 100000 [--database postgresql://postgres@127.0.0.1/postgres]

Prints one JSON object: for each format the seconds and rows per second both ways, and by how many
MiB the only process of the server, which also does the jobs, has grown at most.
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

from server import Client, Server, started

ACCOUNT = {"username": "ada", "password": "correct horse battery"}
FORMATS = {"json": "application/json", "csv": "text/csv", "icalendar": "text/calendar"}
ENDS = {
    "json": ("[", "\n]"),
    "csv": ("title,description,priority,due_at\r\n", ""),
    "icalendar": ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "END:VCALENDAR\r\n"),
}
WORDS = "water the plants on the balcony and in the hall, twice a week in summer; less in winter"
WARM_UP = 2000


def rows(name: str, count: int) -> Iterator[str]:
    """Yield the text of a file with so many tasks."""
    begin, end = ENDS[name]
    yield begin
    for number in range(count):
        title, text = f"Task {number}", f"{number}: {WORDS}"
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
def most_memory(server: Server) -> Iterator[list[float]]:
    """Note in MiB what the server's worker has; what it maps of a database does not count."""
    [worker] = server.workers()
    status, seen, over = Path(f"/proc/{worker}/status"), [0.0], Event()

    def look() -> None:
        while not over.wait(0.02):
            [told] = re.findall(r"RssAnon:\s+(\d+) kB", status.read_text())
            seen.append(int(told) / 1024)

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def finished(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job to end, and return it."""
    while job["finished_at"] is None:
        time.sleep(0.1)
        status, job = client.call("GET", f"/jobs/{job['id']}")
        if status != 200:
            raise RuntimeError(job)
    if job["state"] != "succeeded":
        raise RuntimeError(job)
    return job


def send(client: Client, name: str, file: IO[bytes], length: dict[str, str]) -> dict[str, Any]:
    """Send a file as it is read, and wait until it is imported."""
    headers = client.headers | {"Content-Type": FORMATS[name]} | length
    client.connection.request("POST", "/api/v1/imports", file, headers)
    answer = client.connection.getresponse()
    return finished(client, json.loads(answer.read()))


def carry(client: Client, name: str, count: int) -> None:
    """Import so many tasks from a file that is written first."""
    with tempfile.TemporaryFile() as file:
        for text in rows(name, count):
            file.write(text.encode())
        length = {"Content-Length": str(file.tell())}
        file.seek(0)
        job = send(client, name, file, length)
    if job["progress"] != {"done": count, "total": count}:
        raise RuntimeError(job)


def download(client: Client, job: dict[str, Any]) -> int:
    """Read a result, and return how long it is."""
    path = f"/api/v1/jobs/{job['id']}/result"
    client.connection.request("GET", path, headers=client.headers)
    answer = client.connection.getresponse()
    length = 0
    while piece := answer.read(1 << 16):
        length += len(piece)
    return length


def measure(server: Server, name: str, count: int) -> dict[str, float]:
    """Import and export so many tasks, and tell what that took."""
    with Client(server.port) as client:
        client.call("POST", "/auth/register", ACCOUNT | {"email": "ada@example.com"})
        client.log_in(**ACCOUNT)
        with most_memory(server) as before:
            carry(client, name, WARM_UP)
        start = time.perf_counter()
        with most_memory(server) as importing:
            carry(client, name, count)
        middle = time.perf_counter()
        with most_memory(server) as exporting:
            job = finished(client, client.call("POST", "/exports", {"format": name})[1])
            length = download(client, job)
        end = time.perf_counter()
    return {
        "import_seconds": round(middle - start, 1),
        "imported_per_second": round(count / (middle - start)),
        "import_grew_mib": round(max(importing) - max(before), 1),
        "export_seconds": round(end - middle, 1),
        "exported_per_second": round((count + WARM_UP) / (end - middle)),
        "export_grew_mib": round(max(exporting) - max(before), 1),
        "result_mib": round(length / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--database")
    asked = parser.parse_args()
    report = {}
    for name in FORMATS:
        with started(asked.database, WEB_CONCURRENCY="1") as server:
            report[name] = measure(server, name, asked.rows)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
