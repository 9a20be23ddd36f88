"""One instance of each extension, bound to an application by ``create_app``."""

from typing import Any

from flask_cors import CORS
from flask_jwt_extended import JWTManager
from flask_mailman import Mail
from flask_marshmallow import Marshmallow
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from app.db.base import Model
from app.db.connections import Session
from app.rate_limiter import RateLimiter

db = SQLAlchemy(
    model_class=Model,
    session_options={"class_": Session, "autoflush": False, "expire_on_commit": False},
)
migrate = Migrate(render_as_batch=True)
# Any: it sets its schema classes as attributes of the instance.
ma: Any = Marshmallow()
jwt = JWTManager()
mail = Mail()
limiter = RateLimiter()
cors = CORS()
