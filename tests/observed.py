"""A program whose requests succeed and fail, for tests of traces and error reports.

``python -m tests.observed`` prints the status of each response.
"""

import time

from sqlalchemy.exc import OperationalError

from app import create_app
from app.db.transactions import commit
from app.outbox import queue
from app.outbox.queue import handler
from tests.waiting import drain

# Values that must not appear in traces and reports.
PRIVATE = {
    "password": "correct horse battery",
    "title": "buy-a-ring-for-Eve",
    "email": "alice-a@example.com",
    "search": "ring-for",
    "error": "Key (email)=(someone) exists",
    "cookie": "flavour-chocolate",
}


@handler("probe.fail")
def fail(number: int) -> None:
    raise ValueError(PRIVATE["error"])


def crash(number):
    secret = PRIVATE["title"]
    raise ValueError(f"{PRIVATE['error']} {secret}")


def lose_database(number):
    raise OperationalError("SELECT 1", None, Exception(PRIVATE["error"]))


def enqueue_message(number):
    queue.enqueue("probe.fail", number=1)
    return commit("enqueued")


def main() -> None:
    app = create_app()
    # The outbox is drained below, so that its order is known.
    app.before_request_funcs[None].remove(app.extensions["outbox"].ensure_started)
    for view in (crash, lose_database, enqueue_message):
        app.add_url_rule(f"/{view.__name__}/<int:number>", view_func=view)
    client = app.test_client()
    ids = iter(range(1, 100))

    def call(method, path, body=None, **headers):
        headers |= {"X-Request-ID": f"r-{next(ids)}", "Cookie": PRIVATE["cookie"]}
        response = client.open(path, method=method, json=body, headers=headers)
        print(method, path.partition("?")[0], response.status_code)
        return response.json

    account = {
        "username": "alice",
        "email": PRIVATE["email"],
        "password": PRIVATE["password"],
    }
    call("POST", "/api/v1/auth/register", account)
    login = {"username": "alice", "password": PRIVATE["password"]}
    token = call("POST", "/api/v1/auth/login", login)["access_token"]
    print("token", token)
    call("POST", "/api/v1/tasks", {"title": PRIVATE["title"]}, Authorization=f"Bearer {token}")
    trace = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "Authorization": f"Bearer {token}"}
    call("GET", f"/api/v1/tasks?q={PRIVATE['search']}", **trace)
    call("GET", "/api/v1/tasks/999999", **trace)
    for path in ("/crash/7?q=ring-for", "/lose_database/7", "/enqueue_message/7"):
        call("GET", path)
    with app.app_context():
        drain()
    print("ended", time.monotonic())


if __name__ == "__main__":
    main()
