"""The web layer that all endpoints share, from parsing to the OpenAPI document."""

from flask_smorest import Api

# Not in app.extensions: services import that, and must not depend on the web layer.
api = Api()
