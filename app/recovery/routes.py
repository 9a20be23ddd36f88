"""Recovery and the proof of addresses over HTTP."""

from app.auth.guard import requires_session
from app.auth.models import Actor
from app.errors import Conflict
from app.http.blueprint import Blueprint
from app.http.limits import Rule, limited
from app.recovery import services
from app.recovery.schemas import FORGOT, RESET, VERIFY

blueprint = Blueprint(
    "recovery",
    __name__,
    url_prefix="/api/v1/auth",
    description="Forgotten passwords, and addresses that are to be proved.",
)


@blueprint.post("/password/forgot")
@limited(Rule.recovery)
@blueprint.arguments(FORGOT)
@blueprint.response(202)
def ask_for_reset(asked: dict[str, str]) -> None:
    """Have a token mailed that resets the password, if the address is an account's."""
    services.ask_for_reset(**asked)


@blueprint.post("/password/reset")
@limited(Rule.recovery)
@blueprint.arguments(RESET)
@blueprint.response(204)
def reset_password(reset: dict[str, str]) -> None:
    """Set a new password by a mailed token; every session ends."""
    services.reset_password(**reset)


@blueprint.post("/email/verify")
@limited(Rule.recovery)
@blueprint.refuses(Conflict)
@blueprint.arguments(VERIFY)
@blueprint.response(204)
def verify_email(proof: dict[str, str]) -> None:
    """Prove an address by the token that was mailed to it; a new one counts from then on."""
    services.verify_email(**proof)


@blueprint.post("/email/resend")
@limited(Rule.recovery)
@requires_session()
@blueprint.response(202)
def resend_verification(actor: Actor) -> None:
    """Have the token mailed anew that proves one's own address, or the one it is to become."""
    services.resend_verification(actor)
