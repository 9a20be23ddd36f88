"""How schemathesis logs in, and the few rules that a schema can't say."""

import os
import secrets
from urllib.parse import urlencode
from zoneinfo import available_timezones

import requests
import schemathesis
from hypothesis import strategies as st

API = f"{os.environ['API_ADDRESS']}/api/v1"
LONGEST_QUERY = 7000
AHEAD = "2999-12-31T00:00:00Z"
PASSWORD = "correct horse battery"  # of accounts that live as long as the run
TAKES_REFRESH_TOKEN = "/api/v1/auth/refresh"  # a path

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
    """Opens an account, and another whenever a case has ended the last one's session."""

    tokens: dict[str, str] | None = None

    def get(self, case, _context):
        if self.tokens is None or not self._alive():
            name = f"fuzz-{secrets.token_hex(8)}"
            account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            self._post("register", account)
            self.tokens = self._post("login", {"username": name, "password": PASSWORD})
        if case.operation.path == TAKES_REFRESH_TOKEN:
            token, self.tokens = self.tokens["refresh_token"], None
            return token
        return self.tokens["access_token"]

    def set(self, case, data, _context):
        case.headers["Authorization"] = f"Bearer {data}"

    def _alive(self):
        bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return requests.get(f"{API}/auth/me", headers=bearer, timeout=10).status_code == 200

    def _post(self, name, body):
        answer = requests.post(f"{API}/auth/{name}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()


@schemathesis.hook
def filter_query(_context, query):
    """Leave out what is longer than a request line may be: the server refuses it before us."""
    return len(urlencode(query or {}, doseq=True, errors="replace")) < LONGEST_QUERY


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Make good data good: only a server's own cursor is one, and a key names one request."""
    if case.meta is None:
        return
    if not case.meta.generation.mode.is_positive:
        spoil(case)
        return
    if case.query:
        case.query.pop("cursor", None)
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = secrets.token_hex(8)
    if case.operation.path.endswith("/batch"):
        tell_apart(case.body)
    if case.operation.path.endswith(("/register", "/password", "/reset")):
        choose_password(case.body)
    if case.operation.path.endswith("/imports") and case.media_type == "multipart/form-data":
        case.body["format"] = "csv"  # which its file's name may not tell
    if case.operation.path.endswith("/tokens") and case.method == "POST":
        expire_later(case.body)


def spoil(case):
    """Make bad data bad: what was to break a format, and is null where that may be, broke none."""
    for mutation in getattr(case.meta.phase.data, "mutations", ()):
        name = mutation.schema_pointer.rpartition("/")[2]
        if mutation.keywords == ("format",) and isinstance(case.body, dict) and name in case.body:
            case.body[name] = case.body[name] or "no such thing"


def choose_password(account):
    """Choose one that is not among the most common: zeros are."""
    for name in {"password", "new_password"} & account.keys():
        account[name] = secrets.token_hex(8)


def expire_later(token):
    """Have a token end in the future."""
    if token.get("expires_at"):
        token["expires_at"] = AHEAD


def tell_apart(batch):
    """Name no task twice, and let each operation fail for itself."""
    batch.pop("atomic", None)
    for number, operation in enumerate(batch["operations"], start=1):
        if "id" in operation:
            operation["id"] = number
        if "version" in operation:
            # JSON Schema takes 1.0 for an integer; the contract does not.
            operation["version"] = int(operation["version"])
