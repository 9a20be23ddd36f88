"""The least that Flask does: one route, nothing behind it. What is dearer is the application's."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def hello() -> Response:
    return jsonify(message="hello")
