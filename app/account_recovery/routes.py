"""Endpoints of password reset and email verification."""

from app.account_recovery import schemas, services
from app.api.blueprint import Blueprint
from app.api.rate_limits import rate_limit
from app.auth.decorators import session_required
from app.auth.models import Actor
from app.errors import Conflict
from app.rate_limiter import RateLimit

blp = Blueprint("account_recovery", __name__, description="Password reset and email verification.")


@blp.post("/password/forgot")
@blp.arguments(schemas.ForgotPasswordSchema)
@blp.response(202)
@rate_limit(RateLimit.recovery)
def forgot_password(data: dict[str, str]) -> None:
    """Send a token that resets the password, if the address is a user's."""
    services.request_reset(**data)


@blp.post("/password/reset")
@blp.arguments(schemas.ResetPasswordSchema)
@blp.response(204)
@rate_limit(RateLimit.recovery)
def reset_password(data: dict[str, str]) -> None:
    """Set a new password by an email token; all sessions end."""
    services.reset_password(**data)


@blp.post("/email/verify")
@blp.alt_response(Conflict)
@blp.arguments(schemas.VerifyEmailSchema)
@blp.response(204)
@rate_limit(RateLimit.recovery)
def verify_email(data: dict[str, str]) -> None:
    """Verify an email address by the token that was sent to it."""
    services.verify_email(**data)


@blp.post("/email/resend")
@rate_limit(RateLimit.recovery)
@session_required()
@blp.response(202)
def resend_verification(actor: Actor) -> None:
    """Resend the verification email."""
    services.resend_verification(actor)
