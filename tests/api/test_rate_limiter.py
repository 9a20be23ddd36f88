"""Counters of rate limits: shared through Redis, in memory while it fails, and back again."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse
from redis import Redis as Client

from app import rate_limiter
from app.rate_limiter import REDIS_TIMEOUT_SECONDS, Counters
from tests.redis import needs_redis, redis

RATE = parse("5 per minute")
RETRY_INTERVAL = 0.3

pytestmark = needs_redis


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(rate_limiter, "REDIS_RETRY_INTERVAL_SECONDS", RETRY_INTERVAL)
    with redis() as running:
        yield running


def hits(counters, count, rate=RATE):
    """Count some requests, and return which of them are allowed."""
    return [counters.hit(rate, "key")[0] for _ in range(count)]


def messages(caplog):
    return [record.getMessage().split(";")[0] for record in caplog.records]


def test_processes_share_counters_in_redis(server):
    one, other = Counters(server.url), Counters(server.url)
    assert hits(one, 3) + hits(other, 3) == [True] * 5 + [False]
    assert one.hit(RATE, "key")[1].remaining == 0
    assert other.hit(RATE, "other key")[1].remaining == 4


def test_window_reports_limit_remaining_and_reset(server):
    counters = Counters(server.url)
    results = [counters.hit(RATE, "key") for _ in range(6)]
    assert [allowed for allowed, _ in results] == [True] * 5 + [False]
    assert [window.limit for _, window in results] == [5] * 6
    assert [window.remaining for _, window in results] == [4, 3, 2, 1, 0, 0]
    assert {round(window.reset_time - time.time(), -1) for _, window in results} == {60}


def test_redis_that_lost_its_scripts_gets_them_again(server):
    counters = Counters(server.url)
    assert hits(counters, 1) == [True]
    with Client.from_url(server.url) as client:
        client.script_flush()
    assert [counters.hit(RATE, "key")[1].remaining for _ in range(5)] == [3, 2, 1, 0, 0]


def test_window_moves_and_its_key_expires(server):
    counters, rate = Counters(server.url), parse("3 per second")
    assert hits(counters, 2, rate) == [True, True]
    time.sleep(0.6)
    allowed, window = counters.hit(rate, "key")
    assert (allowed, window.remaining) == (True, 0)
    assert window.reset_time == pytest.approx(time.time() + 0.4, abs=0.2)
    assert hits(counters, 1, rate) == [False]
    time.sleep(0.6)
    allowed, window = counters.hit(rate, "key")
    assert (allowed, window.remaining) == (True, 1)
    with Client.from_url(server.url) as client:
        [key] = client.keys("*key*")
        assert client.llen(key) <= 3
        assert client.ttl(key) == 1


def test_concurrent_requests_do_not_exceed_the_limit(server):
    counters, rate = Counters(server.url), parse("100 per minute")
    with ThreadPoolExecutor(16) as pool:
        allowed = list(pool.map(lambda _: counters.hit(rate, "key")[0], range(200)))
    assert allowed.count(True) == 100


def test_connection_that_redis_closed_is_replaced(server, caplog):
    counters = Counters(server.url)
    assert counters.hit(RATE, "key")[1].remaining == 4
    with Client.from_url(server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert counters.hit(RATE, "key")[1].remaining == 3
    assert messages(caplog) == []


def test_counters_in_memory_replace_redis_while_it_is_down(server, caplog):
    counters = Counters(server.url)
    assert counters.hit(RATE, "key")[1].remaining == 4
    server.stop()
    assert hits(counters, 7) == [True] * 5 + [False] * 2
    assert messages(caplog) == ["Redis failed"]
    server.start()


def test_redis_may_be_down_at_start(server, caplog):
    server.stop()
    assert hits(Counters(server.url), 7) == [True] * 5 + [False] * 2
    assert messages(caplog) == ["Redis failed"]
    server.start()


def test_counters_return_to_redis_when_it_works_again(server, caplog):
    caplog.set_level(logging.INFO)
    counters = Counters(server.url)
    assert hits(counters, 2) == [True] * 2
    server.stop()
    assert hits(counters, 7) == [True] * 5 + [False] * 2
    assert messages(caplog) == ["Redis failed"]
    server.start()
    time.sleep(RETRY_INTERVAL)
    assert hits(counters, 6) == [True] * 5 + [False]
    assert messages(caplog) == ["Redis failed", "Redis works again"]
    # Another process sees the counter, so it is in Redis.
    assert hits(Counters(server.url), 1) == [False]


def test_frozen_redis_delays_one_request_per_interval(server, caplog):
    counters = Counters(server.url)
    assert hits(counters, 1) == [True]
    with server.frozen():
        started = time.monotonic()
        assert hits(counters, 6) == [True] * 5 + [False]
        assert REDIS_TIMEOUT_SECONDS <= time.monotonic() - started < REDIS_TIMEOUT_SECONDS + 0.25
        time.sleep(RETRY_INTERVAL)
        started = time.monotonic()
        assert hits(counters, 50) == [False] * 50
        assert time.monotonic() - started < REDIS_TIMEOUT_SECONDS + 0.25
    assert messages(caplog) == ["Redis failed"]
    time.sleep(RETRY_INTERVAL)
    assert hits(counters, 1) == [True]
    assert messages(caplog) == ["Redis failed", "Redis works again"]


def test_concurrent_requests_are_all_counted_while_redis_is_frozen(server, caplog):
    counters = Counters(server.url)
    with server.frozen(), ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: counters.hit(RATE, "key"), range(16)))
    assert [allowed for allowed, _ in results].count(True) == 5
    assert {window.remaining for allowed, window in results if not allowed} == {0}
    assert messages(caplog) == ["Redis failed"]
