"""A bare Flask application: one route, no database. Shows what the framework costs."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def hello() -> Response:
    return jsonify(message="hello")
