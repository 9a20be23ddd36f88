"""The memory of workers under requests of all kinds."""

import os

from benchmarks import memory
from benchmarks.server import started

# MiB for each worker; docs/deployment.md has the measured figures.
MAX_MEMORY = 300
REQUESTS = 20_000


def test_memory_of_workers_is_bounded():
    with started(os.environ.get("TEST_DATABASE_URL"), WEB_CONCURRENCY="2") as server:
        _, early, late, peak = memory.measure(server, REQUESTS).values()
    assert max(peak) < MAX_MEMORY
    for before, after in zip(early, late, strict=True):
        assert after < 1.1 * before
