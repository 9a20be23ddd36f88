"""Catalogue of problems: the error responses of the API (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Self

FieldError = Mapping[str, str]


class Problem(Exception):
    """An error response: a status, a stable code, and texts for the client.

    ``detail`` explains the error, ``resolution`` how to fix it. ``header`` names a response header
    with more information. ``example_args`` are the arguments of the instance in the documentation.
    ``extensions`` are further members of the body. ``operation`` is the index of the operation that
    failed in a batch.
    """

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    title: ClassVar[str]
    resolution: ClassVar[str]
    header: ClassVar[str | None] = None
    example_args: ClassVar[tuple[Any, ...]] = ()
    detail: str = ""

    def __init_subclass__(cls, *, status: int | None = None, code: str = "") -> None:
        super().__init_subclass__()
        if status:
            cls.status = HTTPStatus(status)
        if code:
            cls.code = code
            cls.title = code.replace("_", " ").capitalize().replace("json", "JSON")

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail or self.detail)
        self.detail = detail or self.detail
        self.headers = dict(headers or {})
        self.extensions = extensions
        self.operation: int | None = None

    @classmethod
    def example(cls) -> Self:
        """Return an instance for the API documentation."""
        return cls(*cls.example_args)

    def to_dict(self, public_url: str) -> dict[str, Any]:
        """Return the members of the body that do not depend on the request."""
        return {
            "type": f"{public_url}/problems/{self.code}",
            "title": self.title,
            "status": int(self.status),
            "code": self.code,
            "detail": self.detail,
            **({} if self.operation is None else {"operation": self.operation}),
            **self.extensions,
        }


class BadRequest(Problem, status=400, code="bad_request"):
    detail = "The request is malformed."
    resolution = "Correct the header or the part of the request that `detail` names."


class MalformedJson(Problem, status=400, code="malformed_json"):
    detail = "The body is not valid JSON."
    resolution = "Send one JSON object in UTF-8 without duplicate keys, NaN or Infinity."


class Unauthenticated(Problem, status=401):
    """A 401 response with a ``WWW-Authenticate`` header (RFC 6750)."""

    header = "WWW-Authenticate"
    error: ClassVar[str | None] = "invalid_token"

    def __init__(self, detail: str | None = None, **extensions: Any) -> None:
        super().__init__(detail, **extensions)
        challenge = f'Bearer error="{self.error}", error_description="{self.detail}"'
        self.headers["WWW-Authenticate"] = challenge if self.error else "Bearer"


class AuthenticationRequired(Unauthenticated, code="authentication_required"):
    detail = "A bearer token is required."
    resolution = "Log in and send the access token as `Authorization: Bearer <token>`."
    error = None


class InvalidToken(Unauthenticated, code="invalid_token"):
    detail = "The token is invalid."
    resolution = "Send the token exactly as it was issued, or log in to get a new one."


class TokenExpired(Unauthenticated, code="token_expired"):
    detail = "The token has expired."
    resolution = "Refresh the session to get a new access token. If that fails too, log in again."


class TokenRevoked(Unauthenticated, code="token_revoked"):
    detail = "The token has been revoked."
    resolution = "Log in again. A session ends by logout, a password change, or after its lifetime."


class TokenReused(Unauthenticated, code="token_reused"):
    detail = "The refresh token has already been used."
    resolution = (
        "Use the most recent refresh token. If you did not use this one before, log in again and"
        " change your password."
    )


class WrongTokenType(Unauthenticated, code="wrong_token_type"):
    detail = "This endpoint requires another type of token."
    resolution = "Send the refresh token to refresh the session, and an access token otherwise."


class FreshTokenRequired(Unauthenticated, code="fresh_token_required"):
    """The password must be verified again (RFC 9470)."""

    detail = "A fresh access token is required: log in or reauthenticate."
    resolution = (
        "Send the password to `/api/v1/auth/reauthenticate` and retry the request with the new"
        " access token."
    )
    error = "insufficient_user_authentication"


class InvalidCredentials(Unauthenticated, code="invalid_credentials"):
    detail = "The username, email address or password is wrong."
    resolution = "Check the username or email address and the password, or the code, and retry."
    error = None


class SecondFactorRequired(Unauthenticated, code="second_factor_required"):
    """The password was correct, and the login needs a second factor to continue."""

    detail = "The password is correct; a second factor is required."
    resolution = (
        "Send the `challenge` and a code from the authenticator app, or a recovery code, to"
        " `/api/v1/auth/login/second-factor` within 5 minutes."
    )
    error = None
    example_args = ("WzEsIjVmMGMi...",)

    def __init__(self, challenge: str) -> None:
        super().__init__(challenge=challenge)
        self.headers["Cache-Control"] = "no-store"


class Forbidden(Problem, status=403, code="forbidden"):
    detail = "You are not allowed to do this."
    resolution = "Ask the owner of the resource or an administrator."


class InsufficientScope(Problem, status=403, code="insufficient_scope"):
    """The token lacks ``scope`` (RFC 6750, section 3.1)."""

    detail = "The token lacks a required scope."
    resolution = "Create a token with the scope in `scope`, or log in."
    header = "WWW-Authenticate"
    example_args = ("tasks:write",)

    def __init__(self, scope: str) -> None:
        headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
        super().__init__(f"The token lacks the scope {scope}.", headers=headers, scope=scope)


class AccountDisabled(Problem, status=403, code="account_disabled"):
    detail = "The account is disabled."
    resolution = "Ask an administrator to enable the account."


class NotFound(Problem, status=404, code="not_found"):
    detail = "The resource was not found."
    resolution = "Check the URL. A resource that you have no access to is not found either."


class MethodNotAllowed(Problem, status=405, code="method_not_allowed"):
    detail = "The method is not allowed; the Allow header lists the allowed methods."
    resolution = "Use one of the methods in the `Allow` header."
    header = "Allow"


class NotAcceptable(Problem, status=406, code="not_acceptable"):
    detail = "The response is application/json, which the Accept header excludes."
    resolution = "Send `Accept: application/json`, or no `Accept` header."


class Conflict(Problem, status=409, code="conflict"):
    """A conflict with existing data; ``field`` names the conflicting field, if there is one."""

    detail = "The request conflicts with existing data."
    resolution = "Resolve the conflict that `detail` describes, and retry."
    example_args = ("The username is taken.", "username")

    def __init__(self, detail: str | None = None, field: str | None = None) -> None:
        super().__init__(detail)
        if field:
            self.extensions["field"] = field


class StaleVersion(Problem, status=412, code="stale_version"):
    """The resource has changed since the client read it; ``version`` is the current version."""

    detail = "The resource has changed since you read it."
    resolution = (
        "Read the resource again, apply your change to it, and send the new `ETag` as `If-Match`."
    )
    header = "ETag"
    example_args = (3,)

    def __init__(self, version: int) -> None:
        super().__init__(headers={"ETag": f'"{version}"'})


class IdempotencyInProgress(Problem, status=409, code="idempotency_in_progress"):
    detail = "The first request with this Idempotency-Key is still in progress."
    resolution = "Wait the number of seconds in `Retry-After`, and retry with the same key."
    header = "Retry-After"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class IdempotencyKeyReused(Problem, status=422, code="idempotency_key_reused"):
    detail = "The Idempotency-Key was used with another method, path or body."
    resolution = "Use a new key for each new request, and the same key only to retry a request."

    def __init__(self) -> None:
        super().__init__(errors=[{"header": "Idempotency-Key", "detail": self.detail}])


class PayloadTooLarge(Problem, status=413, code="payload_too_large"):
    detail = "The request body is too large."
    resolution = "Send a smaller body."


class UnsupportedMediaType(Problem, status=415, code="unsupported_media_type"):
    detail = "The body must be application/json in UTF-8, without compression."
    resolution = "Send `Content-Type: application/json` and an uncompressed body."


class ValidationFailed(Problem, status=422, code="validation_error"):
    """Invalid input; each of ``errors`` locates a value and explains what is wrong with it."""

    detail = "The request contains invalid values."
    resolution = "Correct each value in `errors`, located by pointer, parameter or header."
    example_args = (
        [
            {"pointer": "/title", "detail": "Longer than 150 characters."},
            {"parameter": "limit", "detail": "Must be at least 1 and at most 200."},
        ],
    )

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = list(errors)
        count = len(self.errors)
        detail = "1 field is invalid." if count == 1 else f"{count} fields are invalid."
        super().__init__(detail, errors=self.errors)


class InvalidCursor(Problem, status=422, code="invalid_cursor"):
    detail = "The cursor does not match this list, sort and filters."
    resolution = (
        "Use `next_cursor` or the `Link` header unchanged with the same sort and filters, or start"
        " again without a cursor."
    )

    def __init__(self) -> None:
        super().__init__(errors=[{"parameter": "cursor", "detail": self.detail}])


class RateLimited(Problem, status=429, code="rate_limited"):
    detail = "Too many requests; retry after the number of seconds in Retry-After."
    resolution = (
        "Wait the number of seconds in `Retry-After`. The `X-RateLimit-Remaining` header of every"
        " response is the number of requests left."
    )
    header = "Retry-After"

    def __init__(self, seconds: int = 1, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers={"Retry-After": str(seconds), **(headers or {})})


class InternalError(Problem, status=500, code="internal_error"):
    detail = "An internal error occurred; it is logged under the request id."
    resolution = "Retry later. If the error persists, report the `request_id`."


class Unavailable(Problem, status=503, code="unavailable"):
    """A dependency is unavailable; ``parts`` maps the name of each dependency to its state."""

    detail = "The service is temporarily unavailable."
    resolution = "Wait the number of seconds in `Retry-After`, and retry."
    header = "Retry-After"

    def __init__(self, parts: Mapping[str, str] | None = None) -> None:
        failing = ", ".join(name for name, state in (parts or {}).items() if state != "ok")
        detail = f"The service is unavailable; failing: {failing}." if failing else None
        super().__init__(detail, headers={"Retry-After": "1"})
        if parts:
            self.extensions["parts"] = parts


def all_problems() -> list[type[Problem]]:
    """Return every problem class that has a code, sorted by status and code."""
    classes: list[type[Problem]] = [Problem]
    for cls in classes:
        classes += cls.__subclasses__()
    return sorted(
        (cls for cls in classes if "code" in vars(cls)), key=lambda cls: (cls.status, cls.code)
    )
