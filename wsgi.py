"""The application, for a WSGI server, and its Celery.

``gunicorn -c deploy/gunicorn.conf.py wsgi:app``; ``celery -A wsgi:celery worker``, and ``beat``.
"""

from dotenv import load_dotenv

load_dotenv()

from app import create_app  # noqa: E402  # settings come first

app = create_app()
celery = app.extensions["celery"]
