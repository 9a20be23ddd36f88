"""More requests than threads while PostgreSQL does not respond."""

import os

import pytest

from benchmarks import frozen_database
from tests.security import cluster

TIMEOUT = 2
# For a busy machine.
MARGIN = 2


@pytest.mark.skipif(
    not cluster.binaries() and "NO_SKIPS" not in os.environ, reason="PostgreSQL is not installed"
)
def test_bounds_hold_with_200_requests_in_flight():
    figures = frozen_database.run(requests=200, timeout=TIMEOUT)
    assert figures.statuses == {503: 200}
    assert figures.longest_liveness < TIMEOUT + MARGIN
    assert figures.longest_request < 2 * TIMEOUT + MARGIN
    assert figures.recovery < MARGIN
