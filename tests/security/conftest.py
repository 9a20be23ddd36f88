from collections.abc import Iterator

import pytest

from tests.security.calls import World


@pytest.fixture
def world(app, accounts) -> Iterator[World]:
    """Users with one resource of each type, and every route."""
    world = World(app, accounts)
    yield world
    world.end()
