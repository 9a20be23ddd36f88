"""One instance of each extension, bound to an application by ``create_app``."""

from flask_jwt_extended import JWTManager
from flask_marshmallow import Marshmallow
from flask_migrate import Migrate
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy

from app.database import Model

db = SQLAlchemy(model_class=Model, session_options={"autoflush": False, "expire_on_commit": False})
migrate = Migrate(render_as_batch=True)
ma = Marshmallow()
jwt = JWTManager()
api = Api()
