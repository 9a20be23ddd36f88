"""Password rules, normalization and hashing."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from app.auth import passwords
from app.auth.models import User
from tests.accounts import PASSWORD


@pytest.mark.parametrize(
    ("password", "normalized"),
    [
        ("plain words", "plain words"),
        ("Zu\u0308rich", "Z\u00fcrich"),
        ("\ufb01ve", "five"),
        ("\uff21\uff22", "AB"),
        ("①", "1"),
        ("\u212b", "\u00c5"),
        ("a\u00a0b", "a b"),
    ],
)
def test_password_is_normalized(password, normalized):
    assert passwords.normalize(password) == normalized
    assert passwords.normalize(normalized) == normalized


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "Shorter than 8 characters."),
        ("seven77", "Shorter than 8 characters."),
        ("x" * 129, "Longer than 128 characters."),
        ("password", "Among the most common passwords."),
        ("PassWord1", "Among the most common passwords."),
        ("12345678", "Among the most common passwords."),
        ("qwertyuiop", "Among the most common passwords."),
        ("ADA.LOVELACE", "Must not be your own name or address."),
        ("ada@example.com", "Must not be your own name or address."),
    ],
)
def test_weakness_is_explained(password, reason):
    assert passwords.find_weakness(password, "Ada.Lovelace", "Ada@Example.com") == reason


@pytest.mark.parametrize("password", ["eight ch", "x" * 128, "🦄" * 8, "aaaaaaa b", PASSWORD])
def test_password_of_valid_length_is_accepted(password):
    assert passwords.find_weakness(password, "ada", "ada@example.com") is None


def test_common_passwords_are_normalized_and_of_valid_length():
    common = passwords._common_passwords()
    assert len(common) >= 3000
    for password in common:
        assert passwords.normalize(password).casefold() in common, password
        assert passwords.MIN_LENGTH <= len(password) <= passwords.MAX_LENGTH


def test_hash_is_salted_and_verifies():
    first, second = (passwords.hash_password(PASSWORD) for _ in range(2))
    assert first != second
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify(PASSWORD, first)
    assert passwords.verify(PASSWORD, second)
    assert not passwords.verify(PASSWORD + " ", first)
    assert not passwords.needs_rehash(first)


def test_missing_hash_never_verifies_and_takes_as_long():
    known = passwords.hash_password(PASSWORD)
    passwords.verify(PASSWORD, None)
    times = {None: [], known: []}
    for password_hash, durations in times.items():
        for _ in range(5):
            start = time.process_time()
            assert not passwords.verify("no account has this password", password_hash)
            durations.append(time.process_time() - start)
    assert min(times[None]) > min(times[known]) / 2


def test_outdated_hash_is_replaced_at_next_login(accounts, client, monkeypatch, stored):
    weak_hasher = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "hasher", weak_hasher)
        accounts.make("alice")
    hashes = select(User.password_hash)
    [(old,)] = stored(hashes)
    assert passwords.needs_rehash(old)
    wrong = {"username": "alice", "password": "not the password"}
    client.post("/api/v1/auth/login", json=wrong)
    assert stored(hashes) == [(old,)]
    accounts.log_in("alice")
    [(new,)] = stored(hashes)
    assert not passwords.needs_rehash(new)
    accounts.log_in("alice")
    assert stored(hashes) == [(new,)]


def test_no_more_passwords_are_hashed_at_once_than_there_are_processors(monkeypatch):
    known = passwords.hash_password("a known passphrase")
    hasher, lock, running, most = passwords.hasher, Lock(), 0, 0

    class Counting:
        def __getattr__(self, name):
            def call(*args):
                nonlocal running, most
                with lock:
                    running += 1
                    most = max(most, running)
                try:
                    return getattr(hasher, name)(*args)
                finally:
                    with lock:
                        running -= 1

            return call

    monkeypatch.setattr(passwords, "hasher", Counting())
    calls = [
        partial(passwords.verify, "a known passphrase", known),
        partial(passwords.verify, "a known passphrase", None),
        partial(passwords.hash_password, "a new passphrase"),
    ] * 20
    with ThreadPoolExecutor(len(calls)) as pool:
        results = list(pool.map(lambda call: call(), calls))
    assert [result is True for result in results] == [True, False, False] * 20
    assert 1 <= most <= os.cpu_count()
