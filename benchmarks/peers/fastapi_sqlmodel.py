"""The API as in the tutorials of FastAPI and SQLModel, with synchronous path functions."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    PlainSerializer,
    StringConstraints,
    computed_field,
    model_validator,
)
from sqlalchemy import Index, Text, func, insert, or_
from sqlmodel import Field, Session, SQLModel, col, create_engine, select

from benchmarks import dataset
from benchmarks.peers.columns import URL, Position, PriorityRank, UtcDateTime
from benchmarks.peers.rules import (
    LIFETIME,
    POSITION,
    PUBLIC_URL,
    SECRET,
    ZONES,
    Priority,
    Status,
    now,
    update_timestamps,
)

ALGORITHM = "HS256"
# One connection for each client of the benchmark: requests run in a pool of 40 threads.
engine = create_engine(URL, pool_size=16)
# What PasswordHash.recommended() of pwdlib, which the tutorial uses, chooses.
passwords = PasswordHasher()
DUMMY_HASH = passwords.hash("no account has this password")
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/login")


def parse_priority(value: Any) -> Any:
    return Priority[value] if value in Priority.__members__ else value


def check_time_zone(name: str | None) -> str | None:
    if name is not None and name not in ZONES:
        raise ValueError("must be an IANA time zone")
    return name


PriorityName = Annotated[
    Priority,
    BeforeValidator(parse_priority),
    PlainSerializer(lambda rank: rank.name, return_type=str),
]
PositionKey = Annotated[str, StringConstraints(pattern=f"^{POSITION.pattern}$")]
TimeZone = Annotated[str | None, AfterValidator(check_time_zone)]


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: int | None = Field(default=None, primary_key=True)
    username: str = Field(unique=True)
    email: str = Field(unique=True)
    password_hash: str
    disabled: bool = False


class RevokedToken(SQLModel, table=True):
    __tablename__ = "revoked_tokens"

    jti: str = Field(primary_key=True)


class TaskBase(SQLModel):
    title: str = Field(min_length=1, max_length=150)
    description: str | None = Field(default=None, max_length=20_000, sa_type=Text)
    status: Status = Status.pending
    priority: PriorityName = Field(default=Priority.none, sa_type=PriorityRank)
    due_date: date | None = None
    due_at: AwareDatetime | None = Field(default=None, sa_type=UtcDateTime)
    time_zone: TimeZone = Field(default=None, max_length=64)


class Task(TaskBase, table=True):
    __tablename__ = "tasks"
    __table_args__ = (
        Index("ix_tasks_created", "created_by", "created_at", "id"),
        Index("ix_tasks_priority", "created_by", "priority", "id"),
        Index("ix_tasks_position", "created_by", "position"),
    )

    id: int | None = Field(default=None, primary_key=True)
    position: str = Field(sa_type=Position)
    version: int = 1
    created_by: int = Field(foreign_key="users.id")
    created_at: AwareDatetime | None = Field(default=None, sa_type=UtcDateTime)
    updated_at: AwareDatetime | None = Field(default=None, sa_type=UtcDateTime)
    completed_at: AwareDatetime | None = Field(default=None, sa_type=UtcDateTime)


class DueValidator(SQLModel):
    @model_validator(mode="after")
    def check_due(self) -> Self:
        if self.due_date and self.due_at:
            raise ValueError("either due_date or due_at")
        return self


class TaskCreate(TaskBase, DueValidator):
    position: PositionKey | None = None


class TaskUpdate(DueValidator):
    title: str | None = Field(default=None, min_length=1, max_length=150)
    description: str | None = Field(default=None, max_length=20_000)
    status: Status | None = None
    priority: PriorityName | None = None
    due_date: date | None = None
    due_at: AwareDatetime | None = None
    time_zone: TimeZone = None
    position: PositionKey | None = None


class TaskPublic(TaskBase):
    id: int
    position: str
    version: int
    created_by: int
    created_at: AwareDatetime
    updated_at: AwareDatetime
    completed_at: AwareDatetime | None
    deleted_at: None = None

    @computed_field
    @property
    def url(self) -> str:
        return f"{PUBLIC_URL}/api/v1/tasks/{self.id}"


class TaskPage(BaseModel):
    data: list[TaskPublic]
    next_cursor: str | None


class Credentials(BaseModel):
    username: str
    password: str


class Token(BaseModel):
    access_token: str
    token_type: str


class ListQuery(BaseModel):
    limit: int = Field(default=50, ge=1, le=200)
    cursor: int = Field(default=0, ge=0)
    sort: Literal["created_at", "-created_at", "priority", "-priority"] = "-created_at"
    status: Status | None = None
    q: str | None = Field(default=None, min_length=1, max_length=200)


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def get_claims(token: Annotated[str, Depends(oauth2_scheme)], session: SessionDep) -> Any:
    unauthorized = HTTPException(
        401, "Could not validate credentials", headers={"WWW-Authenticate": "Bearer"}
    )
    try:
        claims = jwt.decode(token, SECRET, algorithms=[ALGORITHM])
    except jwt.InvalidTokenError:
        raise unauthorized from None
    if session.get(RevokedToken, claims["jti"]) is not None:
        raise unauthorized
    return claims


ClaimsDep = Annotated[dict[str, Any], Depends(get_claims)]


def get_current_user(claims: ClaimsDep, session: SessionDep) -> User:
    user = session.get(User, int(claims["sub"]))
    if user is None or user.disabled:
        raise HTTPException(401, "Inactive user")
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]
router = APIRouter(prefix="/api/v1")


@router.post("/auth/login", response_model=Token)
def login(credentials: Credentials, session: SessionDep) -> Any:
    user = session.exec(select(User).where(User.username == credentials.username)).first()
    try:
        passwords.verify(user.password_hash if user else DUMMY_HASH, credentials.password)
    except VerificationError:
        raise HTTPException(401, "Incorrect username or password") from None
    claims = {"sub": str(user.id), "jti": uuid4().hex, "exp": now() + LIFETIME}
    return Token(access_token=jwt.encode(claims, SECRET, ALGORITHM), token_type="bearer")  # noqa: S106


@router.post("/auth/logout", status_code=204)
def logout(claims: ClaimsDep, session: SessionDep) -> None:
    session.add(RevokedToken(jti=claims["jti"]))
    session.commit()


@router.get("/tasks", response_model=TaskPage)
def list_tasks(query: Annotated[ListQuery, Query()], user: CurrentUser, session: SessionDep) -> Any:
    statement = select(Task).where(Task.created_by == user.id)
    if query.status:
        statement = statement.where(Task.status == query.status)
    for word in (query.q or "").split():
        matches = or_(col(Task.title).icontains(word), col(Task.description).icontains(word))
        statement = statement.where(matches)
    keys = [col(getattr(Task, query.sort.removeprefix("-"))), col(Task.id)]
    if query.sort.startswith("-"):
        keys = [key.desc() for key in keys]
    limit, offset = query.limit, query.cursor
    rows = session.exec(statement.order_by(*keys).limit(limit + 1).offset(offset)).all()
    next_cursor = str(offset + limit) if len(rows) > limit else None
    return {"data": rows[:limit], "next_cursor": next_cursor}


@router.post("/tasks", response_model=TaskPublic, status_code=201)
def create_task(new: TaskCreate, user: CurrentUser, session: SessionDep) -> Any:
    position = new.position
    if position is None:
        max_position = select(func.max(Task.position)).where(Task.created_by == user.id)
        position = dataset.next_position(session.exec(max_position).one())
    task = Task.model_validate(new, update={"position": position, "created_by": user.id})
    update_timestamps(task, TaskBase.model_fields)
    session.add(task)
    session.commit()
    session.refresh(task)
    return task


def get_task(task_id: int, user: CurrentUser, session: SessionDep) -> Task:
    statement = select(Task).where(Task.id == task_id, Task.created_by == user.id)
    task = session.exec(statement).first()
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


OwnTask = Annotated[Task, Depends(get_task)]


@router.get("/tasks/{task_id}", response_model=TaskPublic)  # noqa: FAST003  # get_task reads it
def read_task(task: OwnTask) -> Any:
    return task


@router.patch("/tasks/{task_id}", response_model=TaskPublic)  # noqa: FAST003  # get_task reads it
def update_task(update: TaskUpdate, task: OwnTask, session: SessionDep) -> Any:
    changes = update.model_dump(exclude_unset=True)
    task.sqlmodel_update(changes)
    task.version += 1
    update_timestamps(task, changes)
    session.add(task)
    session.commit()
    session.refresh(task)
    return task


app = FastAPI()
app.include_router(router)


def fill(users: int, tasks_per_user: int) -> None:
    """Create the tables and insert the rows."""
    SQLModel.metadata.create_all(engine)
    password_hash = passwords.hash(dataset.PASSWORD)
    user_rows = [
        {
            "username": name,
            "email": f"{name}@example.com",
            "password_hash": password_hash,
            "disabled": False,
        }
        for name in dataset.usernames(users)
    ]
    rows = [
        row | {"version": 1, "priority": Priority[row["priority"]], "status": Status(row["status"])}
        for row in dataset.tasks(users, tasks_per_user)
    ]
    with Session(engine) as session:
        session.execute(insert(User), user_rows)
        session.execute(insert(Task), rows)
        session.commit()
