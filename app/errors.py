"""The kinds of refusal, and the one place that renders them (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Self

import orjson
from flask import Flask, Response, current_app, got_request_exception, request
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from app.origin import origin

Fault = Mapping[str, str]


class Problem(Exception):
    """A refusal: a status, a code that never changes, and what to tell the client.

    ``detail`` says what it means, ``advice`` what to do about it; ``header`` names the header that
    tells more. ``operation`` is the index of the operation of a batch that was refused.
    """

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    title: ClassVar[str]
    advice: ClassVar[str]
    header: ClassVar[str | None] = None
    detail: str = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" in vars(cls):
            cls.title = cls.code.replace("_", " ").capitalize().replace("json", "JSON")

    def __init__(
        self, detail: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail or self.detail)
        self.detail = detail or self.detail
        self.headers = dict(headers or {})
        self.operation: int | None = None

    @classmethod
    def example(cls) -> Self:
        """Return a problem of this kind as a client may meet it."""
        return cls()

    def body(self) -> dict[str, Any]:
        """Return the members of the problem, but for those of the request."""
        return {
            "type": f"{current_app.config['PUBLIC_URL']}/problems/{self.code}",
            "title": self.title,
            "status": int(self.status),
            "code": self.code,
            "detail": self.detail,
        } | ({} if self.operation is None else {"operation": self.operation})


class BadRequest(Problem):
    status = HTTPStatus.BAD_REQUEST
    code = "bad_request"
    detail = "The request can't be understood."
    advice = "Read the detail: it names the header or the part of the request that is malformed."


class MalformedJson(Problem):
    status = HTTPStatus.BAD_REQUEST
    code = "malformed_json"
    detail = "The body is not valid JSON."
    advice = "Send one JSON object in UTF-8, with no key twice and no NaN or Infinity."


class Unauthenticated(Problem):
    """A refusal for want of good credentials; it always tells how to authenticate (RFC 6750)."""

    status = HTTPStatus.UNAUTHORIZED
    header = "WWW-Authenticate"
    error: ClassVar[str | None] = "invalid_token"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail)
        self.headers["WWW-Authenticate"] = (
            f'Bearer error="{self.error}", error_description="{self.detail}"'
            if self.error
            else "Bearer"
        )


class AuthenticationRequired(Unauthenticated):
    code = "authentication_required"
    detail = "This needs a bearer token."
    advice = "Log in, and send the access token as `Authorization: Bearer <token>`."
    error = None


class InvalidToken(Unauthenticated):
    code = "invalid_token"
    detail = "The token is not one of ours, or not whole."
    advice = "Send the token just as it was issued, or log in for a new one."


class TokenExpired(Unauthenticated):
    code = "token_expired"
    detail = "The token has expired."
    advice = "Refresh the session for a new access token; log in again once that fails too."


class TokenRevoked(Unauthenticated):
    code = "token_revoked"
    detail = "The token's session has ended."
    advice = "Log in again. A session ends by logout, a new password, or its age."


class TokenReused(Unauthenticated):
    code = "token_reused"
    detail = "The refresh token was spent before."
    advice = (
        "Use the refresh token that came last. If it was not you who used this one, log "
        "in again and set a new password."
    )


class WrongTokenType(Unauthenticated):
    code = "wrong_token_type"
    detail = "This needs another type of token."
    advice = "Send an access token, but to refresh the session the refresh token."


class FreshTokenRequired(Unauthenticated):
    """The password must be proved anew (RFC 9470)."""

    code = "fresh_token_required"
    detail = "This needs a fresh access token: log in or reauthenticate."
    advice = (
        "Prove the password at `/api/v1/auth/reauthenticate` and repeat the call with "
        "the token that it gives."
    )
    error = "insufficient_user_authentication"


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"
    detail = "The name, address or password is wrong."
    advice = "Check the name or address and the password, or the code, and try again."
    error = None


class SecondFactorRequired(Unauthenticated):
    """The password was right, and a code is due; ``challenge`` goes with it."""

    code = "second_factor_required"
    detail = "The password is right; a second factor is needed too."
    advice = (
        "Send the `challenge`, and a code of the authenticator or a recovery code, to "
        "`/api/v1/auth/login/second-factor` within 5 minutes."
    )
    error = None

    def __init__(self, challenge: str) -> None:
        super().__init__()
        self.headers["Cache-Control"] = "no-store"
        self.challenge = challenge

    @classmethod
    def example(cls) -> Self:
        return cls("WzEsIjVmMGMi...")

    def body(self) -> dict[str, Any]:
        return super().body() | {"challenge": self.challenge}


class Forbidden(Problem):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"
    detail = "You may not do this."
    advice = "Ask whoever owns this, or an administrator."


class InsufficientScope(Problem):
    """The token may be used for other things only (RFC 6750, 3.1); ``scope`` is what it lacks."""

    status = HTTPStatus.FORBIDDEN
    code = "insufficient_scope"
    detail = "The token lacks a scope that this needs."
    advice = "Make a token that has the scope which `scope` names, or use a session."
    header = "WWW-Authenticate"

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"The token lacks the scope {scope}.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
        self.scope = scope

    @classmethod
    def example(cls) -> Self:
        return cls("tasks:write")

    def body(self) -> dict[str, Any]:
        return super().body() | {"scope": self.scope}


class AccountDisabled(Problem):
    status = HTTPStatus.FORBIDDEN
    code = "account_disabled"
    detail = "The account is disabled."
    advice = "Ask an administrator to enable the account again."


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND
    code = "not_found"
    detail = "There is nothing here that you may see."
    advice = "Check the address. What exists but is not yours to see is not found either."


class MethodNotAllowed(Problem):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"
    detail = "This does not take that method; Allow lists those that it takes."
    advice = "Use one of the methods that the `Allow` header lists."
    header = "Allow"


class NotAcceptable(Problem):
    status = HTTPStatus.NOT_ACCEPTABLE
    code = "not_acceptable"
    detail = "The answer is application/json, which Accept rules out."
    advice = "Ask for `application/json`, or leave `Accept` out."


class Conflict(Problem):
    """Something else stands in the way; ``field`` is the one at fault, where there is one."""

    status = HTTPStatus.CONFLICT
    code = "conflict"
    detail = "This conflicts with what is there."
    advice = "Read the detail, change what stands in the way, and try again."

    def __init__(self, detail: str | None = None, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field

    @classmethod
    def example(cls) -> Self:
        return cls("The username is taken.", field="username")

    def body(self) -> dict[str, Any]:
        return super().body() | ({"field": self.field} if self.field else {})


class StaleVersion(Problem):
    """The resource was changed since the client read it; ``version`` is its version now."""

    status = HTTPStatus.PRECONDITION_FAILED
    code = "stale_version"
    detail = "This was changed since; read it again."
    advice = (
        "Read it again, apply your change to what is there now, and send the new `ETag` "
        "as `If-Match`."
    )
    header = "ETag"

    def __init__(self, version: int) -> None:
        super().__init__(headers={"ETag": f'"{version}"'})

    @classmethod
    def example(cls) -> Self:
        return cls(3)


class IdempotencyInProgress(Problem):
    status = HTTPStatus.CONFLICT
    code = "idempotency_in_progress"
    detail = "The first request with this Idempotency-Key is still running."
    advice = "Wait as long as `Retry-After` says, and repeat the request with the same key."
    header = "Retry-After"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class IdempotencyKeyReused(Problem):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "idempotency_key_reused"
    detail = "The Idempotency-Key was used for another method, path or body."
    advice = "Make a new key for each new request; repeat a key only with the same request."

    def body(self) -> dict[str, Any]:
        return super().body() | {"errors": [{"header": "Idempotency-Key", "detail": self.detail}]}


class PayloadTooLarge(Problem):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "payload_too_large"
    detail = "The body is larger than this takes."
    advice = "Send less at once."


class UnsupportedMediaType(Problem):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"
    detail = "The body must be application/json, in UTF-8 and not compressed."
    advice = "Send `Content-Type: application/json` and a body that is not compressed."


class ValidationFailed(Problem):
    """What the client says is not acceptable; ``faults`` name each place and why."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "validation_error"
    detail = "Something that was sent is not acceptable."
    advice = "Correct each place that `errors` names, by pointer, parameter or header."

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = len(faults)
        super().__init__(
            "1 field is not acceptable." if count == 1 else f"{count} fields are not acceptable."
        )
        self.faults = list(faults)

    @classmethod
    def example(cls) -> Self:
        return cls(
            [
                {"pointer": "/title", "detail": "Longer than 150 characters."},
                {"parameter": "limit", "detail": "Must be at least 1 and at most 200."},
            ]
        )

    def body(self) -> dict[str, Any]:
        return super().body() | {"errors": self.faults}


class InvalidCursor(Problem):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid_cursor"
    detail = "The cursor does not belong to this list, sort and filters."
    advice = (
        "Follow `next_cursor` or the `Link` as they came, with the same sort and "
        "filters, or start over."
    )

    def body(self) -> dict[str, Any]:
        return super().body() | {"errors": [{"parameter": "cursor", "detail": self.detail}]}


class RateLimited(Problem):
    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "rate_limited"
    detail = "That was too often; wait as long as Retry-After says."
    advice = (
        "Wait as long as `Retry-After` says, and go on. `X-RateLimit-Remaining` tells with every "
        "answer how many requests are left."
    )
    header = "Retry-After"

    def __init__(self, seconds: int = 1) -> None:
        super().__init__(headers={"Retry-After": str(seconds)})


class InternalError(Problem):
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal_error"
    detail = "Something went wrong on our side; the request id finds it in our logs."
    advice = "Try again later; if it stays, report the `request_id`."


class Unavailable(Problem):
    """Something that the service needs fails; ``parts`` tells which, where that was asked."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    detail = "The service can't answer now; try again shortly."
    advice = "Wait as long as `Retry-After` says, and try again."
    header = "Retry-After"

    def __init__(self, parts: Mapping[str, str] | None = None) -> None:
        failing = ", ".join(name for name, state in (parts or {}).items() if state != "ok")
        super().__init__(
            f"The service can't answer now for want of: {failing}." if failing else None,
            headers={"Retry-After": "1"},
        )
        self.parts = parts

    def body(self) -> dict[str, Any]:
        return super().body() | ({"parts": self.parts} if self.parts else {})


def kinds() -> list[type[Problem]]:
    """Return every kind that has a code, by status and code."""
    found: list[type[Problem]] = [Problem]
    for kind in found:
        found += kind.__subclasses__()
    return sorted(
        (kind for kind in found if "code" in vars(kind)), key=lambda kind: (kind.status, kind.code)
    )


# What routing, the parser and the server below raise by status alone.
KIND_BY_STATUS: Mapping[int, type[Problem]] = {
    kind.status: kind
    for kind in (
        BadRequest,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        PayloadTooLarge,
        UnsupportedMediaType,
    )
}


def describe(problem: Problem) -> dict[str, Any]:
    """Return the members of ``problem`` as this request meets it."""
    return problem.body() | {"instance": request.path, "request_id": origin().request_id}


def render(problem: Problem) -> Response:
    """Return the answer that tells a client of ``problem``."""
    return Response(
        orjson.dumps(describe(problem)),
        status=problem.status,
        headers=problem.headers,
        content_type="application/problem+json",
    )


def _render_http_exception(error: HTTPException) -> Response:
    kind = KIND_BY_STATUS.get(error.code or 500)
    if kind is None:
        return _render_crash(error)
    problem = kind()
    if isinstance(allowed := getattr(error, "valid_methods", None), list | tuple | set):
        problem.headers["Allow"] = ", ".join(sorted(allowed))
    return render(problem)


def _render_broken_constraint(error: IntegrityError) -> Response:
    """Answer for a write whose ground was taken away by another, after it was checked."""
    current_app.logger.warning(
        "A constraint refused a write. request_id=%s", origin().request_id, exc_info=error
    )
    return render(Conflict())


def _render_unavailable(error: Exception) -> Response:
    current_app.logger.error(
        "The database can't answer. request_id=%s", origin().request_id, exc_info=error
    )
    return render(Unavailable())


def _render_database_error(error: DBAPIError) -> Response:
    """Answer for what is no fault of ours only where the connection was lost by it."""
    return _render_unavailable(error) if error.connection_invalidated else _render_crash(error)


def _render_crash(error: Exception) -> Response:
    current_app.logger.error("A request failed. request_id=%s", origin().request_id, exc_info=error)
    # As Flask does where nobody handles an error.
    sender = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    got_request_exception.send(sender, _async_wrapper=current_app.ensure_sync, exception=error)
    return render(InternalError())


def init_app(app: Flask) -> None:
    """Answer every failure, from any layer, with a problem."""
    app.register_error_handler(Problem, render)
    app.register_error_handler(HTTPException, _render_http_exception)
    app.register_error_handler(IntegrityError, _render_broken_constraint)
    for kind in (OperationalError, InterfaceError, PoolTimeoutError):
        app.register_error_handler(kind, _render_unavailable)
    app.register_error_handler(DBAPIError, _render_database_error)
    app.register_error_handler(Exception, _render_crash)
