"""One instance of each extension, bound to an application by ``create_app``."""

from flask_caching import Cache
from flask_cors import CORS
from flask_jwt_extended import JWTManager
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_mailman import Mail
from flask_marshmallow import Marshmallow
from flask_migrate import Migrate
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy

from app.connections import Session
from app.database import Model

db = SQLAlchemy(
    model_class=Model,
    session_options={"class_": Session, "autoflush": False, "expire_on_commit": False},
)
migrate = Migrate(render_as_batch=True)
ma = Marshmallow()
jwt = JWTManager()
mail = Mail()
api = Api()
limiter = Limiter(get_remote_address, strategy="moving-window")
cors = CORS()
cache = Cache(with_jinja2_ext=False)
