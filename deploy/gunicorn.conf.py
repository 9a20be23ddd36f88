"""gunicorn, as ``pipenv run start`` and production run it; each name is a setting of its own."""

import sys

from app.config import ConfigurationError
from app.config import load as load_settings

try:
    _settings = load_settings()
except ConfigurationError as error:
    sys.exit(str(error))

wsgi_app = "wsgi:app"
bind = f"{_settings['HOST']}:{_settings['PORT']}"
worker_class = "gthread"
workers = _settings["WEB_CONCURRENCY"]
threads = _settings["THREADS"]
keepalive = 75
graceful_timeout = 30
loglevel = _settings["LOG_LEVEL"].lower()
control_socket_disable = True
# As long as RFC 9110, 4.1, asks for; a cursor and filters have room.
limit_request_line = 8190
# No client is believed about another address, scheme or path than its connection shows.
forwarded_allow_ips = ""
