"""The application for WSGI servers, and its Celery app.

``gunicorn wsgi:app``; ``celery -A wsgi:celery worker``; ``celery -A wsgi:celery beat``.
"""

from dotenv import load_dotenv

load_dotenv()

from app import create_app  # noqa: E402  # reads the environment

app = create_app()
application = app  # the name that servers look for unless told otherwise
celery = app.extensions["celery"]
