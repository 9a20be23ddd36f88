"""The API as in usual Flask tutorials: Flask-SQLAlchemy, Flask-JWT-Extended, marshmallow."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    current_user,
    get_jwt,
    jwt_required,
)
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy import ForeignKey, Index, String, Text, or_
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry
from werkzeug.security import check_password_hash, generate_password_hash

from benchmarks import dataset
from benchmarks.peers.columns import URL, Position, PriorityRank, UtcDateTime
from benchmarks.peers.rules import (
    LIFETIME,
    POSITION,
    PUBLIC_URL,
    SECRET,
    SORTS,
    THREADS,
    ZONES,
    Priority,
    Status,
    now,
    update_timestamps,
)

ResponseValue = tuple[Response, int] | Response


class Base(DeclarativeBase):
    registry = registry(
        type_annotation_map={datetime: UtcDateTime, Priority: PriorityRank, str: String(255)}
    )


db = SQLAlchemy(model_class=Base)
jwt = JWTManager()
api = Blueprint("api", __name__, url_prefix="/api/v1")


class User(db.Model):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    active: Mapped[bool] = mapped_column(default=True)


class TokenBlocklist(db.Model):
    __tablename__ = "token_blocklist"

    id: Mapped[int] = mapped_column(primary_key=True)
    jti: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[datetime]


class Task(db.Model):
    __tablename__ = "tasks"
    __table_args__ = (
        Index("ix_tasks_created", "created_by", "created_at", "id"),
        Index("ix_tasks_priority", "created_by", "priority", "id"),
        Index("ix_tasks_position", "created_by", "position"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(150))
    description: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20))
    priority: Mapped[Priority]
    due_date: Mapped[date | None]
    due_at: Mapped[datetime | None]
    time_zone: Mapped[str | None] = mapped_column(String(64))
    position: Mapped[str] = mapped_column(Position)
    version: Mapped[int] = mapped_column()
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]

    __mapper_args__ = {"version_id_col": version}


class TaskSchema(Schema):
    id = fields.Integer(dump_only=True)
    title = fields.String(required=True, validate=validate.Length(1, 150))
    description = fields.String(
        allow_none=True, load_default=None, validate=validate.Length(max=20_000)
    )
    status = fields.String(load_default="pending", validate=validate.OneOf(list(Status)))
    priority = fields.Enum(Priority, load_default=Priority.none)
    due_date = fields.Date(allow_none=True, load_default=None)
    due_at = fields.AwareDateTime(allow_none=True, load_default=None)
    time_zone = fields.String(allow_none=True, load_default=None, validate=validate.OneOf(ZONES))
    position = fields.String(validate=validate.Regexp(rf"{POSITION.pattern}\Z"))
    version = fields.Integer(dump_only=True)
    created_by = fields.Integer(dump_only=True)
    created_at = fields.AwareDateTime(dump_only=True)
    updated_at = fields.AwareDateTime(dump_only=True)
    completed_at = fields.AwareDateTime(dump_only=True)
    deleted_at = fields.Constant(None, dump_only=True)
    url = fields.Function(lambda task: f"{PUBLIC_URL}/api/v1/tasks/{task.id}")

    @validates_schema
    def check_due(self, data: Mapping[str, Any], **_: Any) -> None:
        if data.get("due_date") and data.get("due_at"):
            raise ValidationError("Either due_date or due_at.", "due_at")


class ListSchema(Schema):
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))
    cursor = fields.Integer(load_default=0, validate=validate.Range(0))
    sort = fields.String(
        load_default="-created_at",
        validate=validate.OneOf([sign + key for key in SORTS for sign in ("", "-")]),
    )
    status = fields.String(validate=validate.OneOf(list(Status)))
    q = fields.String(validate=validate.Length(1, 200))


task_schema = TaskSchema()
tasks_schema = TaskSchema(many=True)
list_schema = ListSchema()


@jwt.user_identity_loader
def user_identity(user: User) -> str:
    return str(user.id)


@jwt.user_lookup_loader
def load_user(_header: Mapping[str, Any], payload: Mapping[str, Any]) -> User | None:
    return db.session.scalar(db.select(User).filter_by(id=int(payload["sub"]), active=True))


@jwt.token_in_blocklist_loader
def is_revoked(_header: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    statement = db.select(TokenBlocklist.id).filter_by(jti=payload["jti"])
    return db.session.scalar(statement) is not None


@api.errorhandler(ValidationError)
def handle_validation_error(error: ValidationError) -> ResponseValue:
    return jsonify(errors=error.messages), 422


@api.post("/auth/login")
def login() -> ResponseValue:
    credentials = request.get_json()
    user = db.session.scalar(db.select(User).filter_by(username=credentials.get("username")))
    if user is None or not check_password_hash(user.password_hash, credentials.get("password", "")):
        return jsonify(message="Bad username or password"), 401
    return jsonify(
        access_token=create_access_token(user),
        refresh_token=create_refresh_token(user),
        token_type="Bearer",  # noqa: S106  # the scheme's name, not a secret
    )


@api.post("/auth/logout")
@jwt_required()
def logout() -> tuple[str, int]:
    db.session.add(TokenBlocklist(jti=get_jwt()["jti"], created_at=now()))
    db.session.commit()
    return "", 204


@api.get("/tasks")
@jwt_required()
def list_tasks() -> ResponseValue:
    query = list_schema.load(request.args)
    statement = db.select(Task).filter_by(created_by=current_user.id)
    if "status" in query:
        statement = statement.filter_by(status=query["status"])
    for word in query.get("q", "").split():
        statement = statement.where(
            or_(Task.title.icontains(word), Task.description.icontains(word))
        )
    keys = [getattr(Task, query["sort"].removeprefix("-")), Task.id]
    if query["sort"].startswith("-"):
        keys = [key.desc() for key in keys]
    limit, offset = query["limit"], query["cursor"]
    rows = db.session.scalars(statement.order_by(*keys).limit(limit + 1).offset(offset)).all()
    next_cursor = str(offset + limit) if len(rows) > limit else None
    return jsonify(data=tasks_schema.dump(rows[:limit]), next_cursor=next_cursor)


@api.post("/tasks")
@jwt_required()
def create_task() -> ResponseValue:
    values = task_schema.load(request.get_json())
    if "position" not in values:
        max_position = db.select(db.func.max(Task.position)).filter_by(created_by=current_user.id)
        values["position"] = dataset.next_position(db.session.scalar(max_position))
    task = Task(**values, created_by=current_user.id)
    update_timestamps(task, values)
    db.session.add(task)
    db.session.commit()
    return jsonify(task_schema.dump(task)), 201


def get_task(task_id: int) -> Task:
    statement = db.select(Task).filter_by(id=task_id, created_by=current_user.id)
    return db.one_or_404(statement)


@api.get("/tasks/<int:task_id>")
@jwt_required()
def show_task(task_id: int) -> ResponseValue:
    return jsonify(task_schema.dump(get_task(task_id)))


@api.patch("/tasks/<int:task_id>")
@jwt_required()
def update_task(task_id: int) -> ResponseValue:
    changes = task_schema.load(request.get_json(), partial=True)
    task = get_task(task_id)
    for name, value in changes.items():
        setattr(task, name, value)
    update_timestamps(task, changes)
    db.session.commit()
    return jsonify(task_schema.dump(task))


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI=URL,
        SQLALCHEMY_ENGINE_OPTIONS={"pool_size": THREADS},
        JWT_SECRET_KEY=SECRET,
        JWT_ACCESS_TOKEN_EXPIRES=LIFETIME,
    )
    db.init_app(app)
    jwt.init_app(app)
    app.register_blueprint(api)
    return app


def fill(users: int, tasks_per_user: int) -> None:
    """Create the tables and insert the rows."""
    password_hash = generate_password_hash(dataset.PASSWORD)
    with create_app().app_context():
        db.create_all()
        db.session.execute(
            db.insert(User),
            [
                {"username": name, "email": f"{name}@example.com", "password_hash": password_hash}
                for name in dataset.usernames(users)
            ],
        )
        rows = [
            row | {"version": 1, "priority": Priority[row["priority"]]}
            for row in dataset.tasks(users, tasks_per_user)
        ]
        db.session.execute(db.insert(Task), rows)
        db.session.commit()
