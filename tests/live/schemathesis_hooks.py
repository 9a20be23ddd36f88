"""Hooks of schemathesis: authentication, and rules that the schema can't express."""

import os
import secrets
from urllib.parse import urlencode
from zoneinfo import available_timezones

import requests
import schemathesis
from hypothesis import strategies as st

API = f"{os.environ['API_ADDRESS']}/api/v1"
MAX_QUERY_LENGTH = 7000
FUTURE = "2999-12-31T00:00:00Z"
PASSWORD = "correct horse battery"  # of users that exist during the run
REFRESH_PATH = "/api/v1/auth/refresh"  # not a password

ZONES = sorted(available_timezones() - {"Factory", "localtime"})
schemathesis.openapi.format("time-zone", st.sampled_from(ZONES))
schemathesis.openapi.format(
    "email", st.from_regex(r"[a-z0-9]{1,20}@[a-z0-9]{1,20}\.(com|org)", fullmatch=True)
)
schemathesis.openapi.format(
    "entity-tags", st.sampled_from(["*", '"1"', '"2"', 'W/"1"', '"1", "2"', '"none"'])
)


@schemathesis.auth(refresh_interval=None)
class Login:
    """Registers a user, and a new one whenever a test case has ended the session."""

    tokens: dict[str, str] | None = None

    def get(self, case, _context):
        if self.tokens is None or not self._alive():
            name = f"fuzz-{secrets.token_hex(8)}"
            account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            self._post("register", account)
            self.tokens = self._post("login", {"username": name, "password": PASSWORD})
        if case.operation.path == REFRESH_PATH:
            token, self.tokens = self.tokens["refresh_token"], None
            return token
        return self.tokens["access_token"]

    def set(self, case, data, _context):
        case.headers["Authorization"] = f"Bearer {data}"

    def _alive(self):
        bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return requests.get(f"{API}/auth/me", headers=bearer, timeout=10).status_code == 200

    def _post(self, name, body):
        response = requests.post(f"{API}/auth/{name}", json=body, timeout=10)
        response.raise_for_status()
        return response.json()


@schemathesis.hook
def filter_query(_context, query):
    """Skip queries that are too long for a request line: gunicorn rejects them."""
    return len(urlencode(query or {}, doseq=True, errors="replace")) < MAX_QUERY_LENGTH


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Make valid data valid: for example, only the server can create a cursor."""
    if case.meta is None:
        return
    if not case.meta.generation.mode.is_positive:
        invalidate(case)
        return
    if case.query:
        case.query.pop("cursor", None)
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = secrets.token_hex(8)
    if case.operation.path.endswith("/batch"):
        make_operations_independent(case.body)
    if case.operation.path.endswith(("/register", "/password", "/reset")):
        set_strong_password(case.body)
    if case.operation.path.endswith("/imports") and case.media_type == "multipart/form-data":
        case.body["format"] = "csv"  # the file name may have no extension
    if case.operation.path.endswith("/tokens") and case.method == "POST":
        set_future_expiry(case.body)


def invalidate(case):
    """Make invalid data invalid: a null instead of a malformed string may be valid."""
    for mutation in getattr(case.meta.phase.data, "mutations", ()):
        name = mutation.schema_pointer.rpartition("/")[2]
        if mutation.keywords == ("format",) and isinstance(case.body, dict) and name in case.body:
            case.body[name] = case.body[name] or "invalid"


def set_strong_password(body):
    """Set a password that is not among the most common ones, such as zeros."""
    for name in {"password", "new_password"} & body.keys():
        body[name] = secrets.token_hex(8)


def set_future_expiry(token):
    """Let a token expire in the future."""
    if token.get("expires_at"):
        token["expires_at"] = FUTURE


def make_operations_independent(batch):
    """Use each task once, and let operations fail independently."""
    batch.pop("atomic", None)
    for number, operation in enumerate(batch["operations"], start=1):
        if "id" in operation:
            operation["id"] = number
        if "version" in operation:
            # JSON Schema accepts 1.0 as an integer; the API does not.
            operation["version"] = int(operation["version"])
