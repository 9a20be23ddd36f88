"""A task API: the application factory."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from app import cli, config, errors, logs, metrics, observability, purges
from app.auth import routes as auth_routes
from app.auth import tokens
from app.config import ConfigSource
from app.database import prepare_engines
from app.extensions import api, db, jwt, ma, migrate
from app.health import routes as health_routes
from app.http import converters, cors, envelope, headers, limits, proxies, remembering, searching
from app.jobs import routes as jobs_routes
from app.mail import letters
from app.outbox import celery, work
from app.personal_data import routes as personal_data_routes
from app.recovery import routes as recovery_routes
from app.second_factor import routes as second_factor_routes
from app.site import routes as site_routes
from app.tasks import reminders
from app.tasks import routes as tasks_routes
from app.users import routes as users_routes


class Application(Flask):
    """Flask, where nothing is a coroutine, and so nothing is asked whether it is."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(source: ConfigSource = None) -> Flask:
    """Return an application, configured by a name, a class or a mapping, else by FLASK_CONFIG.

    Raises ConfigurationError with everything that is wrong with the settings.
    """
    settings = config.load(source)
    app = Application(__name__, instance_path=settings["INSTANCE_PATH"], static_folder=None)
    app.config.from_mapping(settings)
    logs.init_app(app)

    db.init_app(app)
    with app.app_context():
        prepare_engines(db.engines.values(), timeout=settings["DB_TIMEOUT"])
    migrate.init_app(app, db)
    ma.init_app(app)
    jwt.init_app(app)
    tokens.init_app(app)
    letters.init_app(app)
    work.init_app(app)
    celery.init_app(app)
    reminders.init_app(app)
    purges.init_app(app)

    observability.init_app(app)
    envelope.init_app(app)
    proxies.init_app(app)
    headers.init_app(app)
    limits.init_app(app)
    remembering.init_app(app)
    searching.init_app(app)
    cors.init_app(app)
    converters.init_app(app)
    api.init_app(app)
    errors.init_app(app)
    metrics.init_app(app)

    api.register_blueprint(auth_routes.blueprint)
    api.register_blueprint(recovery_routes.blueprint)
    api.register_blueprint(users_routes.blueprint)
    api.register_blueprint(second_factor_routes.blueprint)
    api.register_blueprint(tasks_routes.blueprint)
    api.register_blueprint(jobs_routes.blueprint)
    api.register_blueprint(personal_data_routes.blueprint)
    api.register_blueprint(health_routes.blueprint)
    api.register_blueprint(site_routes.api_document)
    app.register_blueprint(site_routes.site)
    cli.init_app(app)
    return app
