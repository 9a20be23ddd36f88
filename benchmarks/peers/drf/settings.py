"""Django settings, without sessions, messages and the admin, which an API does not need."""

from urllib.parse import urlsplit

from benchmarks.peers.rules import DATABASE_URL, LIFETIME, SECRET

SECRET_KEY = SECRET
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "benchmarks.peers.drf.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "benchmarks.peers.drf",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

_url = urlsplit(DATABASE_URL)
IS_SQLITE = _url.scheme == "sqlite"
if IS_SQLITE:
    _database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _url.path.removeprefix("/"),
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
            "transaction_mode": "IMMEDIATE",
        },
    }
else:
    _database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.removeprefix("/"),
        "USER": _url.username or "",
        "PASSWORD": _url.password or "",
        "HOST": _url.hostname or "",
        "PORT": _url.port or "",
    }
DATABASES = {"default": {**_database, "CONN_MAX_AGE": None}}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "benchmarks.peers.drf.authentication.RevocableJWTAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "benchmarks.peers.drf.pagination.TaskPagination",
    "SEARCH_PARAM": "q",
    "ORDERING_PARAM": "sort",
}
SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": LIFETIME}
