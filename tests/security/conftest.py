from collections.abc import Iterator

import pytest

from tests.security.calls import World


@pytest.fixture
def world(app, accounts) -> Iterator[World]:
    """Accounts with one of each thing, and every route to call about them."""
    made = World(app, accounts)
    yield made
    made.end()
