"""Limits outlive the Redis that counts for them, and go back to it."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile

import pytest
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter
from redis import Redis as Client

from app.http import limit_storage
from app.http.limit_storage import SCHEME, TIMEOUT, hit
from tests.redis import Redis, needs_redis, redis

RATE = parse("5 per minute")
INTERVAL = 0.3

pytestmark = needs_redis


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(limit_storage, "INTERVAL", INTERVAL)
    with redis() as running:
        yield running


def limiter(server: Redis) -> MovingWindowRateLimiter:
    """A process's own view of the limits."""
    return MovingWindowRateLimiter(storage_from_string(f"{SCHEME}+{server.url}"))


def hits(rates, count, key="one"):
    return [hit(rates, RATE, key)[0] for _ in range(count)]


def told(caplog):
    return [record.getMessage().split(";")[0] for record in caplog.records]


def test_processes_share_the_counts_in_redis(server):
    one, other = limiter(server), limiter(server)
    assert hits(one, 3) + hits(other, 3) == [True] * 5 + [False]
    assert hit(one, RATE, "one")[2] == 0
    assert hit(other, RATE, "two")[2] == 4


def test_a_count_is_one_journey_and_tells_how_the_window_stands(server):
    one, other = limiter(server), limiter(server)
    assert hit(one, RATE, "script")[0]  # which this Redis then knows
    with Client.from_url(server.url) as client, client.monitor() as journeys:
        counted = [hit(one, RATE, "one") for _ in range(6)]
        client.ping()
        seen = list(takewhile(lambda told: told["command"] != "PING", journeys.listen()))
    assert [admitted for admitted, _, _ in counted] == [True] * 5 + [False]
    assert [remaining for _, _, remaining in counted] == [4, 3, 2, 1, 0, 0]
    assert sum(told["command"].startswith("EVALSHA") for told in seen) == 6
    assert hit(other, RATE, "one") == counted[-1]


def test_a_redis_that_forgot_the_script_is_told_it_again(server):
    rates = limiter(server)
    assert hit(rates, RATE, "one")[0]
    with Client.from_url(server.url) as client:
        client.script_flush()
    assert [hit(rates, RATE, "one")[2] for _ in range(5)] == [3, 2, 1, 0, 0]


def test_what_left_the_window_makes_room_and_is_kept_no_longer(server):
    rates, rate = limiter(server), parse("3 per second")
    assert [hit(rates, rate, "one")[::2] for _ in range(2)] == [(True, 2), (True, 1)]
    time.sleep(0.6)
    admitted, until, remaining = hit(rates, rate, "one")
    assert (admitted, remaining) == (True, 0)
    assert until == pytest.approx(time.time() + 0.4, abs=0.2)
    assert not hit(rates, rate, "one")[0]
    time.sleep(0.6)
    assert hit(rates, rate, "one")[::2] == (True, 1)
    with Client.from_url(server.url) as client:
        [key] = client.keys("*one*")
        assert client.llen(key) == 2
        assert client.ttl(key) == 1


def test_of_many_at_once_no_more_than_the_rate_are_admitted(server):
    rates, rate = limiter(server), parse("100 per minute")
    with ThreadPoolExecutor(16) as pool:
        admitted = list(pool.map(lambda _: hit(rates, rate, "one")[0], range(200)))
    assert admitted.count(True) == 100


def test_connections_that_redis_closed_meanwhile_are_not_missed(server, caplog):
    rates = limiter(server)
    assert hit(rates, RATE, "one")[2] == 4
    with Client.from_url(server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert hit(rates, RATE, "one")[2] == 3
    assert told(caplog) == []


def test_counts_outlive_redis(server, caplog):
    rates = limiter(server)
    assert hit(rates, RATE, "one")[2] == 4
    server.stop()
    assert [hit(rates, RATE, "one")[0] for _ in range(7)] == [True] * 5 + [False] * 2
    assert told(caplog) == ["Redis fails"]
    server.start()


def test_a_redis_that_never_was_is_missed_only_in_the_log(server, caplog):
    server.stop()
    rates = limiter(server)
    assert hits(rates, 7) == [True] * 5 + [False] * 2
    assert told(caplog) == ["Redis fails"]
    server.start()


def test_while_redis_is_dead_the_process_counts_and_then_it_does_again(server, caplog):
    caplog.set_level(logging.INFO)
    rates = limiter(server)
    assert hits(rates, 2) == [True] * 2
    server.stop()
    assert hits(rates, 7) == [True] * 5 + [False] * 2
    assert told(caplog) == ["Redis fails"]
    server.start()
    time.sleep(INTERVAL)
    assert hits(rates, 6) == [True] * 5 + [False]
    assert told(caplog) == ["Redis fails", "Redis answers again"]
    # It was Redis that counted.
    assert hits(limiter(server), 1) == [False]


def test_a_frozen_redis_costs_a_request_little_and_only_now_and_then(server, caplog):
    rates = limiter(server)
    assert hits(rates, 1) == [True]
    with server.frozen():
        started = time.monotonic()
        assert hits(rates, 6) == [True] * 5 + [False]
        assert TIMEOUT <= time.monotonic() - started < TIMEOUT + 0.25
        time.sleep(INTERVAL)
        started = time.monotonic()
        assert hits(rates, 50) == [False] * 50
        assert time.monotonic() - started < TIMEOUT + 0.25
    assert told(caplog) == ["Redis fails"]
    time.sleep(INTERVAL)
    assert hits(rates, 1) == [True]
    assert told(caplog) == ["Redis fails", "Redis answers again"]


def test_requests_that_wait_for_it_together_are_all_answered(server, caplog):
    rates = limiter(server)
    with server.frozen(), ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: hit(rates, RATE, "one"), range(16)))
    assert [admitted for admitted, _, _ in counted].count(True) == 5
    assert {remaining for admitted, _, remaining in counted if not admitted} == {0}
    assert told(caplog) == ["Redis fails"]
