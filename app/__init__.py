"""Application factory."""

from flask import Flask

from app import cli, config, observability, retention
from app.account_recovery import routes as recovery_routes
from app.api import api, blueprint, cors, middleware, rate_limits
from app.api.http import ORJSONProvider
from app.auth import jwt as auth_jwt
from app.auth import routes as auth_routes
from app.auth.decorators import current_user_id
from app.config import ConfigSource
from app.data_export import routes as data_export_routes
from app.db.engine import configure_engines
from app.docs_site import routes as docs_site_routes
from app.errors import handlers
from app.extensions import db, jwt, ma, migrate
from app.health import routes as health_routes
from app.jobs import handlers as jobs_handlers
from app.jobs import routes as jobs_routes
from app.mail import sender
from app.mfa import routes as mfa_routes
from app.observability import logs, metrics_endpoint
from app.outbox import celery, dispatcher, thread
from app.tasks import reminders
from app.tasks import routes as tasks_routes
from app.users import routes as users_routes

API_PREFIX = "/api/v1"
BLUEPRINTS = (
    (auth_routes.blp, f"{API_PREFIX}/auth"),
    (recovery_routes.blp, f"{API_PREFIX}/auth"),
    (users_routes.blp, f"{API_PREFIX}/users"),
    (mfa_routes.blp, f"{API_PREFIX}/auth"),
    (tasks_routes.blp, f"{API_PREFIX}/tasks"),
    (jobs_routes.blp, API_PREFIX),
    (data_export_routes.blp, f"{API_PREFIX}/auth/me/export"),
    (health_routes.blp, None),
    (docs_site_routes.blp, API_PREFIX),
)


def create_app(source: ConfigSource = None) -> Flask:
    """Create an application; see ``config.load`` for ``source``.

    Raises ConfigurationError with a list of all invalid settings.
    """
    # Configuration
    settings = config.load(source)
    app = Flask(__name__, instance_path=settings["INSTANCE_PATH"], static_folder=None)
    app.config.from_mapping(settings)
    app.json = ORJSONProvider(app)
    logs.init_app(app)

    # Extensions
    db.init_app(app)
    with app.app_context():
        configure_engines(db.engines.values(), timeout=settings["DB_TIMEOUT"])
    migrate.init_app(app, db)
    ma.init_app(app)
    jwt.init_app(app)
    auth_jwt.init_app(app)
    api.init_app(app)

    # Background tasks
    sender.init_app(app)
    dispatcher.init_app(app)
    celery.init_app(app)
    thread.init_app(app)
    reminders.init_app(app)
    jobs_handlers.init_app(app)
    retention.init_app(app)

    # Middleware, hooks and error handlers
    observability.init_app(app)
    middleware.init_app(app)
    rate_limits.init_app(app, current_user_id)
    cors.init_app(app)
    blueprint.init_app(app)
    handlers.init_app(app)
    metrics_endpoint.init_app(app)

    # Blueprints and commands
    for blp, prefix in BLUEPRINTS:
        api.register_blueprint(blp, url_prefix=prefix)
    app.register_blueprint(docs_site_routes.pages)
    cli.init_app(app)
    return app
