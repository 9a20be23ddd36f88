"""Which passwords are accepted, and how they are kept."""

import time

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from app.auth import passwords
from app.auth.models import User
from tests.accounts import PASSWORD


@pytest.mark.parametrize(
    ("typed", "form"),
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
def test_a_password_is_read_in_one_form(typed, form):
    assert passwords.normalize(typed) == form
    assert passwords.normalize(form) == form


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
def test_a_weak_password_is_told_why(password, reason):
    assert passwords.find_weakness(password, "Ada.Lovelace", "Ada@Example.com") == reason


@pytest.mark.parametrize("password", ["eight ch", "x" * 128, "🦄" * 8, "aaaaaaa b", PASSWORD])
def test_length_is_all_that_a_password_needs(password):
    assert passwords.find_weakness(password, "ada", "ada@example.com") is None


def test_thousands_of_common_passwords_are_known_and_each_could_otherwise_be_chosen():
    common = passwords._common_passwords()
    assert len(common) >= 3000
    for password in common:
        assert passwords.normalize(password).casefold() in common, password
        assert passwords.MIN_LENGTH <= len(password) <= passwords.MAX_LENGTH


def test_a_hash_is_verified_and_made_anew_each_time():
    first, second = (passwords.hash_password(PASSWORD) for _ in range(2))
    assert first != second
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify(PASSWORD, first)
    assert passwords.verify(PASSWORD, second)
    assert not passwords.verify(PASSWORD + " ", first)
    assert not passwords.needs_rehash(first)


def test_nobodys_password_is_never_right_and_takes_as_long():
    known = passwords.hash_password(PASSWORD)
    passwords.verify(PASSWORD, None)
    times = {None: [], known: []}
    for password_hash, taken in times.items():
        for _ in range(5):
            begun = time.process_time()
            assert not passwords.verify("no account has this password", password_hash)
            taken.append(time.process_time() - begun)
    assert min(times[None]) > min(times[known]) / 2


def test_a_hash_of_smaller_parameters_is_made_anew_at_the_next_login(
    accounts, client, monkeypatch, stored
):
    small = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "hasher", small)
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
