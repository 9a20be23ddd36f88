"""A task API: the application factory."""

from flask import Flask

from app import cli, config, errors
from app.auth import routes as auth_routes
from app.auth import tokens
from app.config import ConfigSource
from app.database import prepare_engines
from app.extensions import api, db, jwt, ma, migrate
from app.http import body, converters, headers
from app.site import routes as site_routes
from app.tasks import routes as tasks_routes


def create_app(source: ConfigSource = None) -> Flask:
    """Return an application, configured by a name, a class or a mapping, else by FLASK_CONFIG.

    Raises ConfigurationError with everything that is wrong with the settings.
    """
    settings = config.load(source)
    app = Flask(__name__, instance_path=settings["INSTANCE_PATH"], static_folder=None)
    app.config.from_mapping(settings)
    app.logger.setLevel(settings["LOG_LEVEL"])

    db.init_app(app)
    with app.app_context():
        prepare_engines(db.engines.values())
    migrate.init_app(app, db)
    ma.init_app(app)
    jwt.init_app(app)
    tokens.init_app(app)

    headers.init_app(app)
    body.init_app(app)
    converters.init_app(app)
    api.init_app(app)
    errors.init_app(app)

    api.register_blueprint(auth_routes.blueprint)
    api.register_blueprint(tasks_routes.blueprint)
    api.register_blueprint(site_routes.api_document)
    app.register_blueprint(site_routes.site)
    cli.init_app(app)
    return app
