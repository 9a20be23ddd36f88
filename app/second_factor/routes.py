"""Second factors over HTTP."""

from typing import Any

from flask import current_app

from app.auth.guard import requires_session
from app.auth.models import Actor
from app.auth.routes import Answer, login_answer
from app.auth.schemas import LOGIN_ANSWER
from app.errors import AccountDisabled, Conflict, InvalidCredentials, NotFound
from app.http.answers import NO_STORE
from app.http.blueprint import Blueprint
from app.http.limits import Rule, limited
from app.second_factor import services
from app.second_factor.schemas import (
    COMPLETE_LOGIN,
    CONFIRM_SECOND_FACTOR,
    ENROLMENT,
    RECOVERY_CODES,
    SECOND_FACTOR,
)
from app.second_factor.services import Standing

blueprint = Blueprint(
    "second_factor", __name__, url_prefix="/api/v1/auth", description="Second factors of logins."
)


@blueprint.post("/totp")
@requires_session(fresh=True)
@blueprint.refuses(Conflict)
@blueprint.response(201, ENROLMENT)
def enrol_second_factor(actor: Actor) -> Answer:
    """Begin a second factor of timed codes; it is in force once it is confirmed."""
    location = f"{current_app.config['PUBLIC_URL']}/api/v1/auth/totp"
    return services.enrol(actor), NO_STORE | {"Location": location}


@blueprint.get("/totp")
@requires_session()
@blueprint.refuses(NotFound)
@blueprint.response(200, SECOND_FACTOR)
def read_second_factor(actor: Actor) -> Standing:
    """Read whether one's own second factor is in force."""
    return services.get_standing(actor)


@blueprint.post("/totp/confirm")
@requires_session()
@blueprint.refuses(NotFound)
@blueprint.arguments(CONFIRM_SECOND_FACTOR)
@blueprint.response(200, RECOVERY_CODES)
def confirm_second_factor(actor: Actor, proof: dict[str, str]) -> Answer:
    """Put one's own second factor in force by its first code, for the recovery codes."""
    return {"recovery_codes": services.confirm(actor, **proof)}, NO_STORE


@blueprint.delete("/totp")
@requires_session(fresh=True)
@blueprint.refuses(NotFound)
@blueprint.response(204)
def remove_second_factor(actor: Actor) -> None:
    """Remove one's own second factor and its recovery codes."""
    services.remove(actor)


@blueprint.post("/login/second-factor")
@limited(Rule.login)
@blueprint.refuses(InvalidCredentials, AccountDisabled)
@blueprint.arguments(COMPLETE_LOGIN)
@blueprint.response(200, LOGIN_ANSWER)
def complete_login(proof: dict[str, Any]) -> Answer:
    """Finish a login with a second factor, for the tokens of a session."""
    return login_answer(services.complete_login(**proof))
