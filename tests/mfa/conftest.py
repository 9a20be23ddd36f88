"""A second factor to log in with, on a day on which time stands still."""

from datetime import UTC, datetime

import pytest
import time_machine

from tests.accounts import PASSWORD
from tests.problems import assert_problem

START = datetime(2030, 1, 31, 9, tzinfo=UTC)
LOGIN = "/api/v1/auth/login"
STEP = 30


@pytest.fixture(autouse=True)
def clock():
    """The time of day, which stands still until it is shifted."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def two(alice):
    """What makes alice's codes, and her recovery codes; the code of this moment is spent."""
    return alice.enable_second_factor()


@pytest.fixture
def totp(two):
    return two[0]


@pytest.fixture
def recovery_codes(two):
    return two[1]


@pytest.fixture
def challenge(client):
    """Proves the password, for a challenge."""

    def prove(username="alice", password=PASSWORD):
        answer = client.post(LOGIN, json={"username": username, "password": password})
        return assert_problem(answer, 401, "second_factor_required")["challenge"]

    return prove


@pytest.fixture
def complete(app):
    """Answers a challenge with a code."""

    def call(challenge, code):
        said = {"challenge": challenge, "code": code}
        return app.test_client().post(f"{LOGIN}/second-factor", json=said)

    return call
