"""The application, for a WSGI server: ``gunicorn -c deploy/gunicorn.conf.py wsgi:app``."""

from dotenv import load_dotenv

load_dotenv()

from app import create_app  # noqa: E402  # settings come first

app = create_app()
