"""The rules of accounts and of the sessions that they open."""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import mailed_tokens, mails, passwords, policy, second_factors, tokens
from app.auth.mails import Notice
from app.auth.models import (
    Actor,
    MailPurpose,
    PersonalToken,
    Role,
    Session,
    User,
    identity_key,
)
from app.auth.schemas import SESSION, USER
from app.auth.tokens import Claims, Pair
from app.database import violated_constraint
from app.errors import (
    AccountDisabled,
    Conflict,
    FreshTokenRequired,
    InvalidCredentials,
    NotFound,
    SecondFactorRequired,
    TokenReused,
    TokenRevoked,
    ValidationFailed,
)
from app.extensions import db
from app.http import limits
from app.http.limits import Rule
from app.http.output import Row
from app.http.pages import Listing, Page
from app.mail.letters import can_send
from app.origin import origin
from app.outbox.work import enqueue
from app.statements import Insertion, Query
from app.transactions import begin, commit, delete_older

# How long a client that lost the answer may ask again with the token that it just spent.
LEEWAY = timedelta(seconds=10)


class Login(NamedTuple):
    """What a login gives: tokens, and whose they are, as that is shown."""

    pair: Pair
    user: Row


class Account(NamedTuple):
    """What a login has to know of an account, and how that is shown."""

    id: int
    password_hash: str
    disabled: bool
    shown: Row


_ACCOUNT = select(User.id, User.password_hash, User.disabled, *USER.columns)
BY_USERNAME = Query(_ACCOUNT.where(User.username_key == bindparam("key")), shown=True)
BY_EMAIL = Query(_ACCOUNT.where(User.email_key == bindparam("key")), shown=True)
HELD = Query(
    select(User.password_hash, policy.HAS_SECOND_FACTOR)
    .where(User.id == bindparam("user_id"))
    .with_for_update(of=User)
)
OPEN = Insertion(Session)
SESSION_AND_USER = Query(
    select(
        Session.user_id,
        Session.expires_at,
        policy.ACTING_ROLE,
        policy.NOTIFIED_ON_CREATE,
        policy.TASKS_GENERATION,
        User.time_zone,
        User.disabled_at,
    )
    .join_from(Session, User)
    .where(Session.id == bindparam("session_id"))
)


def authenticate(claims: Claims) -> Actor:
    """Return whom a token acts for.

    Raises TokenRevoked when its session is over, AccountDisabled when its account is disabled.
    """
    found = SESSION_AND_USER.first(
        {
            "session_id": claims.session_id,
            "admins_need_two": second_factors.required_of_admins(),
        }
    )
    if found is None:
        raise TokenRevoked
    user_id, expires_at, role, is_notified, generation, time_zone, disabled_at = found
    if user_id != claims.user_id or expires_at <= clock.now():
        raise TokenRevoked
    if disabled_at is not None:
        raise AccountDisabled
    return Actor(
        user_id,
        role,
        time_zone,
        claims.session_id,
        claims.fresh,
        notified_on_create=is_notified,
        tasks_generation=generation,
    )


def register(
    *,
    username: str,
    email: str,
    password: str,
    role: Role = Role.user,
    time_zone: str = "UTC",
    by_operator: bool = False,
) -> User:
    """Open an account, for whoever will use it or ``by_operator``.

    Raises ValidationFailed for a password that is easily guessed, Conflict for a name or an address
    that is taken.
    """
    now = clock.now()
    user = User(
        username=username,
        email=email,
        email_verified=False,
        role=role,
        time_zone=time_zone,
        created_at=now,
        updated_at=now,
    )
    user.password_hash = _hash_new(password, user, "/password")
    db.session.add(user)
    flush_unique()
    actor_id = None if by_operator else user.id
    audit.record(Event.account_registered, user_id=user.id, actor_id=actor_id)
    mails.mail_token(user, MailPurpose.verify_email, email)
    return commit(user)


def log_in(*, username: str | None = None, email: str | None = None, password: str) -> Login:
    """Open a session.

    Raises InvalidCredentials, as slowly for an unknown account as for a known, and AccountDisabled
    or SecondFactorRequired to whoever knows the password.
    """
    asked_for = identity_key(username or email or "")
    account = _account(BY_EMAIL if username is None else BY_USERNAME, asked_for)
    limits.count_account(Rule.login_account, "login", account.id if account else asked_for)
    password = passwords.normalise(password)
    proved = passwords.verify(password, account.password_hash if account else None)
    if account is None or not proved:
        _record(Event.login_failed, account.id if account else None)
        commit()
        raise InvalidCredentials
    if account.disabled:
        raise AccountDisabled
    has_second_factor = _hold(account.id, account.password_hash)
    if passwords.outdated(account.password_hash):
        account = _hashed_anew(account, password)
    if has_second_factor:
        commit()
        challenge = second_factors.issue_challenge(account.id, account.password_hash)
        raise SecondFactorRequired(challenge)
    return commit(Login(open_session(account.id), account.shown))


def open_session(user_id: int) -> Pair:
    """Open a session for whoever has proved to be a user; the commit is the caller's."""
    now, came_from = clock.now(), origin()
    session: dict[str, Any] = {
        "id": secrets.token_hex(16),
        "user_id": user_id,
        "refresh_id": secrets.token_hex(16),
        "spent_id": None,
        "refreshed_at": now,
        "refreshed_before": now,
        "ip_address": came_from.ip_address,
        "user_agent": came_from.user_agent,
        "created_at": now,
        "last_used_at": now,
        "expires_at": now + tokens.session_lifetime(),
    }
    OPEN.one(session)
    _record(Event.login_succeeded, user_id, session_id=session["id"])
    return tokens.issue_pair(
        user_id,
        session["id"],
        session["refresh_id"],
        fresh=True,
        until=session["expires_at"],
        now=now,
    )


def refresh(claims: Claims) -> Pair:
    """Spend a refresh token for a new pair.

    A token that was just spent may be spent again for LEEWAY; presented later it was stolen, and
    ends the session (RFC 9700, 4.14.2). Raises TokenRevoked, TokenReused or AccountDisabled.
    """
    session, disabled_at = _locked_session(claims)
    now = clock.now()
    if session is None or session.expires_at <= now:
        raise TokenRevoked
    if disabled_at is not None:
        raise AccountDisabled
    limits.count_account(Rule.refresh_account, "refresh", session.user_id)
    if claims.token_id == session.refresh_id:
        session.spent_id = session.refresh_id
        session.refreshed_before, session.refreshed_at = session.refreshed_at, now
    elif now - _spent_at(session, claims) > LEEWAY:
        db.session.delete(session)
        audit.record(
            Event.token_reused,
            user_id=session.user_id,
            actor_id=None,
            session_id=session.id,
        )
        commit()
        raise TokenReused
    elif claims.token_id != session.spent_id:
        raise TokenReused
    session.refresh_id = secrets.token_hex(16)
    session.last_used_at = now
    pair = tokens.issue_pair(
        session.user_id,
        session.id,
        session.refresh_id,
        fresh=False,
        until=session.expires_at,
        now=now,
    )
    return commit(pair)


def reauthenticate(actor: Actor, *, password: str) -> Pair:
    """Prove the password anew for a fresh access token. Raises InvalidCredentials."""
    _prove(_own(actor), password)
    return tokens.issue_access(actor.id, actor.session_id, fresh=True)


def log_out(actor: Actor) -> None:
    """End the session that the caller came with."""
    end_session(actor, actor.session_id)


SESSIONS = Listing(
    name="sessions",
    schema=SESSION,
    row_id=Session.id,
    scope=policy.live_sessions_of(bindparam("user_id"), bindparam("now"), bindparam("idle_since")),
    sorts={"created_at": Session.created_at},
    filters={},
)


def list_sessions(actor: Actor, *, limit: int, cursor: str | None) -> Page:
    """Return the caller's sessions, the newest first."""
    now = clock.now()
    page = SESSIONS.page(
        values={
            "user_id": actor.id,
            "now": now,
            "idle_since": now - tokens.idle_lifetime(),
        },
        sort="-created_at",
        limit=limit,
        cursor=cursor,
        bound_to=actor.id,
    )
    return mark_current(actor, page)


def mark_current(actor: Actor, page: Page) -> Page:
    """Say of each session of a page whether it is the one that the caller came with."""
    for row in page.rows:
        row["current"] = row["id"] == actor.session_id
    return page


def end_session(actor: Actor, session_id: str) -> None:
    """End one of the caller's sessions. Raises NotFound."""
    ended = db.session.scalar(
        delete(Session)
        .where(Session.id == session_id, policy.own_session(actor))
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    )
    if ended is None:
        raise NotFound
    _record(Event.session_ended, actor.id, session_id=session_id)
    commit()


def purge_sessions() -> int:
    """Delete the sessions that have come to either end, and return how many they were."""
    now = clock.now()
    idle = delete_older(Session.refreshed_at, now - tokens.idle_lifetime())
    return idle + delete_older(Session.expires_at, now)


def end_other_sessions(actor: Actor) -> None:
    """End all of the caller's sessions but the one that it came with."""
    _end_others(actor)
    _record(Event.other_sessions_ended, actor.id)
    commit()


def get_account(actor: Actor) -> User:
    """Return the caller's account."""
    return _own(actor)


def change_account(actor: Actor, changes: Mapping[str, Any]) -> User:
    """Apply ``changes`` to the caller's account; a new address waits until it is confirmed.

    Where no mail can be sent to confirm it, it counts at once. Raises FreshTokenRequired for a
    change of address with a token that is not fresh, Conflict for a name or an address that is
    taken.
    """
    if "email" in changes and not actor.fresh:
        raise FreshTokenRequired
    user = _own(actor, lock=True)
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if "email" in changed and can_send():
        _ask_to_confirm(user, changed.pop("email"))
    elif "email" in changed:
        user.email_verified = False
        mailed_tokens.call_off(user)
    for name, value in changed.items():
        setattr(user, name, value)
    if changed:
        user.updated_at = clock.now()
        flush_unique()
        _record(Event.account_changed, actor.id, fields=sorted(changed))
    if "time_zone" in changed:
        enqueue("time_zone_changed", user_id=user.id)
    return commit(user)


def _ask_to_confirm(user: User, email: str) -> None:
    """Mail a token to a new address, and tell the old one, which stays until then."""
    taken = select(User.id).where(User.email_key == identity_key(email), User.id != user.id)
    if db.session.scalar(taken) is not None:
        raise Conflict("The email is taken.", field="email")
    mails.mail_token(user, MailPurpose.change_email, email)
    mails.tell(user, Notice.email_change_requested)
    _record(Event.email_change_requested, user.id)


def delete_account(actor: Actor) -> None:
    """Delete the caller's account and all that is its own. Raises Conflict for the last admin."""
    if not remove_account(actor.id, actor_id=actor.id):
        raise TokenRevoked
    commit()


def remove_account(user_id: int, *, actor_id: int | None) -> bool:
    """Delete an account if it is there, and tell whether it was; the commit is the caller's.

    Raises Conflict for the last administrator.
    """
    keep_one_admin(user_id)
    removed = db.session.scalar(
        delete(User)
        .where(User.id == user_id)
        .returning(User.id)
        .execution_options(synchronize_session=False)
    )
    if removed is not None:
        audit.record(Event.account_deleted, user_id=user_id, actor_id=actor_id)
    return removed is not None


def keep_one_admin(leaving_id: int) -> None:
    """Raise Conflict where nobody else is an administrator that is not disabled.

    Whoever is one stays one until the caller's commit: their rows stay locked.
    """
    admins = db.session.scalars(
        select(User.id)
        .where(policy.ABLE_ADMIN)
        .order_by(User.id)
        .with_for_update()
        .execution_options(locks_rows=True)
    ).all()
    if set(admins) == {leaving_id}:
        raise Conflict("The last administrator can't be removed.")


def change_password(actor: Actor, *, current_password: str, new_password: str) -> None:
    """Set a new password, and end every session but this.

    Raises InvalidCredentials for a wrong current one, ValidationFailed for one easily guessed.
    """
    user = _own(actor)
    _prove(user, current_password)
    new_hash = _hash_new(new_password, user, "/new_password")
    _hold(user.id, user.password_hash)
    user.password_hash = new_hash
    user.updated_at = clock.now()
    _end_others(actor)
    mailed_tokens.call_off(user)
    mails.tell(user, Notice.password_changed)
    _record(Event.password_changed, actor.id)
    commit()


def replace_password(user: User, new_password: str, *, actor_id: int | None) -> None:
    """Set a new password in place of one that was lost, and end all that the account had open.

    Whoever had the old one may have made personal tokens: they go too. The commit is the caller's.
    Raises ValidationFailed for a password that is easily guessed.
    """
    user.password_hash = _hash_new(new_password, user, "/new_password")
    user.updated_at = clock.now()
    for opened in (Session, PersonalToken):
        db.session.execute(
            delete(opened)
            .where(opened.user_id == user.id)
            .execution_options(synchronize_session=False)
        )
    mailed_tokens.call_off(user)
    mails.tell(user, Notice.password_reset)
    audit.record(Event.password_reset, user_id=user.id, actor_id=actor_id)


def _own(actor: Actor, *, lock: bool = False) -> User:
    statement = select(User).where(User.id == actor.id)
    if lock:
        statement = statement.with_for_update().execution_options(locks_rows=True)
    user = db.session.scalar(statement)
    if user is None:
        raise TokenRevoked
    return user


def _account(by_key: Query, key: str) -> Account | None:
    found = by_key.first({"key": key})
    if found is None:
        return None
    user_id, password_hash, disabled, *shown = found
    return Account(user_id, password_hash, disabled, USER.from_row(shown))


def _hashed_anew(account: Account, password: str) -> Account:
    """Keep the hash of a proved password with today's parameters."""
    new_hash = passwords.hash_password(password)
    db.session.execute(update(User).where(User.id == account.id).values(password_hash=new_hash))
    return account._replace(password_hash=new_hash)


def _prove(user: User, password: str) -> None:
    # Apart from logins, by which a stranger would lock the owner out of a session that it has.
    limits.count_account(Rule.login_account, "proof", user.id)
    if not passwords.verify(passwords.normalise(password), user.password_hash):
        _record(Event.reauthentication_failed, user.id)
        commit()
        raise InvalidCredentials


def _hold(user_id: int, password_hash: str) -> bool:
    """Hold an account whose password was proved, and tell whether it has a second factor.

    Raises InvalidCredentials if the password was changed since.
    """
    begin()
    found = HELD.first({"user_id": user_id})
    if found is None or found[0] != password_hash:
        raise InvalidCredentials
    return bool(found[1])


def _hash_new(password: str, user: User, pointer: str) -> str:
    password = passwords.normalise(password)
    if weakness := passwords.weakness(password, user.username, user.email):
        raise ValidationFailed([{"pointer": pointer, "detail": weakness}])
    return passwords.hash_password(password)


def flush_unique() -> None:
    """Write what is pending. Raises Conflict, naming the field, where it is another's already."""
    try:
        db.session.flush()
    except IntegrityError as error:
        db.session.rollback()
        field = {
            "uq_users_username_key": "username",
            "uq_users_email_key": "email",
        }.get(violated_constraint(error) or "")
        if field is None:
            raise
        raise Conflict(f"The {field} is taken.", field=field) from None


def _locked_session(claims: Claims) -> tuple[Session | None, datetime | None]:
    """Return the session of a token, locked, and when its account was disabled."""
    found = db.session.execute(
        select(Session, User.disabled_at)
        .join_from(Session, User)
        .where(Session.id == claims.session_id, Session.user_id == claims.user_id)
        .with_for_update(of=Session)
        .execution_options(locks_rows=True)
    ).first()
    return (None, None) if found is None else (found.Session, found.disabled_at)


def _spent_at(session: Session, claims: Claims) -> datetime:
    """Tell when a token that is not good any more was spent, or replaced unused, at the latest."""
    replaced_unused = claims.issued_at >= int(session.refreshed_at.timestamp())
    if claims.token_id == session.spent_id or replaced_unused:
        return session.refreshed_at
    return session.refreshed_before


def _end_others(actor: Actor) -> None:
    db.session.execute(
        delete(Session)
        .where(policy.own_session(actor), Session.id != actor.session_id)
        .execution_options(synchronize_session=False)
    )


def _record(event: Event, user_id: int | None, **details: Any) -> None:
    """Record what someone did to an account who is, or says to be, its user."""
    audit.record(event, user_id=user_id, actor_id=user_id, **details)
