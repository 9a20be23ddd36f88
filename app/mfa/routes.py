"""Endpoints of multi-factor authentication."""

from collections.abc import Mapping
from typing import Any

from app.api.blueprint import Blueprint
from app.api.http import NO_STORE, location
from app.api.rate_limits import rate_limit
from app.auth.decorators import session_required
from app.auth.models import Actor
from app.auth.routes import Response
from app.auth.schemas import LoginResponseSchema
from app.errors import AccountDisabled, Conflict, InvalidCredentials, NotFound
from app.mfa import schemas, services
from app.rate_limiter import RateLimit

blp = Blueprint("mfa", __name__, description="Second factors of logins.")


@blp.post("/totp")
@session_required(fresh=True)
@blp.alt_response(Conflict)
@blp.response(201, schemas.EnrollmentSchema)
def enroll_second_factor(actor: Actor) -> Response:
    """Enroll in a second factor of one-time passwords; logins require it once it is confirmed."""
    return services.enroll(actor), NO_STORE | location("mfa.read_second_factor")


@blp.get("/totp")
@session_required()
@blp.alt_response(NotFound)
@blp.response(200, schemas.SecondFactorSchema)
def read_second_factor(actor: Actor) -> Mapping[Any, Any]:
    """Get the status of your second factor."""
    return services.get_status(actor)


@blp.post("/totp/confirm")
@session_required()
@blp.alt_response(NotFound)
@blp.arguments(schemas.ConfirmSecondFactorSchema)
@blp.response(200, schemas.RecoveryCodesSchema)
def confirm_second_factor(actor: Actor, data: dict[str, str]) -> Response:
    """Confirm your second factor by its first code, and get the recovery codes."""
    return {"recovery_codes": services.confirm(actor, **data)}, NO_STORE


@blp.delete("/totp")
@session_required(fresh=True)
@blp.alt_response(NotFound)
@blp.response(204)
def remove_second_factor(actor: Actor) -> None:
    """Remove your second factor and its recovery codes."""
    services.remove(actor)


@blp.post("/login/second-factor")
@blp.alt_response(InvalidCredentials, AccountDisabled)
@blp.arguments(schemas.CompleteLoginSchema)
@blp.response(200, LoginResponseSchema)
@rate_limit(RateLimit.login)
def complete_login(data: dict[str, Any]) -> Response:
    """Complete a login by a code of the second factor."""
    return services.complete_login(**data), NO_STORE
