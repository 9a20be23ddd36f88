"""Fixtures of the second factor. Time is frozen."""

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
    """Freeze the time until it is shifted."""
    with time_machine.travel(START, tick=False) as frozen:
        yield frozen


@pytest.fixture
def second_factor(alice):
    """Enable alice's second factor; return its TOTP and recovery codes.

    The current TOTP code is used up.
    """
    return alice.enable_second_factor()


@pytest.fixture
def totp(second_factor):
    return second_factor[0]


@pytest.fixture
def recovery_codes(second_factor):
    return second_factor[1]


@pytest.fixture
def challenge(client):
    """Log in with a password, and return the challenge."""

    def log_in(username="alice", password=PASSWORD):
        response = client.post(LOGIN, json={"username": username, "password": password})
        return assert_problem(response, 401, "second_factor_required")["challenge"]

    return log_in


@pytest.fixture
def complete(app):
    """Complete a login with a challenge and a code."""

    def call(challenge, code):
        payload = {"challenge": challenge, "code": code}
        return app.test_client().post(f"{LOGIN}/second-factor", json=payload)

    return call
