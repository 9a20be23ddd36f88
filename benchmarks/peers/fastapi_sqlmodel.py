"""The API as the tutorials of FastAPI and SQLModel write it, with functions that block."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

import data
import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer
from peers.columns import URL, Position, Rank, UtcDateTime
from peers.rules import (
    LIFETIME,
    POSITION,
    PUBLIC_URL,
    SECRET,
    THREADS,
    ZONES,
    Priority,
    Status,
    now,
    settle,
)
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

ALGORITHM = "HS256"
engine = create_engine(URL, pool_size=THREADS)
# What PasswordHash.recommended() of the tutorial's pwdlib stands for.
passwords = PasswordHasher()
NOBODYS_HASH = passwords.hash("no account has this password")
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/login")


def named(value: Any) -> Any:
    return Priority[value] if value in Priority.__members__ else value


def known_zone(name: str | None) -> str | None:
    if name is not None and name not in ZONES:
        raise ValueError("must be an IANA time zone")
    return name


PriorityName = Annotated[
    Priority, BeforeValidator(named), PlainSerializer(lambda rank: rank.name, return_type=str)
]
Place = Annotated[str, StringConstraints(pattern=f"^{POSITION.pattern}$")]
Zone = Annotated[str | None, AfterValidator(known_zone)]


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
    priority: PriorityName = Field(default=Priority.none, sa_type=Rank)
    due_date: date | None = None
    due_at: AwareDatetime | None = Field(default=None, sa_type=UtcDateTime)
    time_zone: Zone = Field(default=None, max_length=64)


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


class OneDue(SQLModel):
    @model_validator(mode="after")
    def has_one_due(self) -> Self:
        if self.due_date and self.due_at:
            raise ValueError("either due_date or due_at")
        return self


class TaskCreate(TaskBase, OneDue):
    position: Place | None = None


class TaskUpdate(OneDue):
    title: str | None = Field(default=None, min_length=1, max_length=150)
    description: str | None = Field(default=None, max_length=20_000)
    status: Status | None = None
    priority: PriorityName | None = None
    due_date: date | None = None
    due_at: AwareDatetime | None = None
    time_zone: Zone = None
    position: Place | None = None


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
    refused = HTTPException(
        401, "Could not validate credentials", headers={"WWW-Authenticate": "Bearer"}
    )
    try:
        claims = jwt.decode(token, SECRET, algorithms=[ALGORITHM])
    except jwt.InvalidTokenError:
        raise refused from None
    if session.get(RevokedToken, claims["jti"]) is not None:
        raise refused
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
def log_in(said: Credentials, session: SessionDep) -> Any:
    user = session.exec(select(User).where(User.username == said.username)).first()
    try:
        passwords.verify(user.password_hash if user else NOBODYS_HASH, said.password)
    except VerificationError:
        raise HTTPException(401, "Incorrect username or password") from None
    claims = {"sub": str(user.id), "jti": uuid4().hex, "exp": now() + LIFETIME}
    return Token(access_token=jwt.encode(claims, SECRET, ALGORITHM), token_type="bearer")  # noqa: S106


@router.post("/auth/logout", status_code=204)
def log_out(claims: ClaimsDep, session: SessionDep) -> None:
    session.add(RevokedToken(jti=claims["jti"]))
    session.commit()


@router.get("/tasks", response_model=TaskPage)
def list_tasks(asked: Annotated[ListQuery, Query()], user: CurrentUser, session: SessionDep) -> Any:
    statement = select(Task).where(Task.created_by == user.id)
    if asked.status:
        statement = statement.where(Task.status == asked.status)
    for word in (asked.q or "").split():
        found = or_(col(Task.title).icontains(word), col(Task.description).icontains(word))
        statement = statement.where(found)
    ends = [col(getattr(Task, asked.sort.removeprefix("-"))), col(Task.id)]
    if asked.sort.startswith("-"):
        ends = [end.desc() for end in ends]
    limit, offset = asked.limit, asked.cursor
    rows = session.exec(statement.order_by(*ends).limit(limit + 1).offset(offset)).all()
    following = str(offset + limit) if len(rows) > limit else None
    return {"data": rows[:limit], "next_cursor": following}


@router.post("/tasks", response_model=TaskPublic, status_code=201)
def create_task(said: TaskCreate, user: CurrentUser, session: SessionDep) -> Any:
    position = said.position
    if position is None:
        last = select(func.max(Task.position)).where(Task.created_by == user.id)
        position = data.after(session.exec(last).one())
    task = Task.model_validate(said, update={"position": position, "created_by": user.id})
    settle(task, TaskBase.model_fields)
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


@router.get("/tasks/{task_id}", response_model=TaskPublic)  # noqa: FAST003  # get_task takes it
def read_task(task: OwnTask) -> Any:
    return task


@router.patch("/tasks/{task_id}", response_model=TaskPublic)  # noqa: FAST003  # the same
def change_task(said: TaskUpdate, task: OwnTask, session: SessionDep) -> Any:
    changes = said.model_dump(exclude_unset=True)
    task.sqlmodel_update(changes)
    task.version += 1
    settle(task, changes)
    session.add(task)
    session.commit()
    session.refresh(task)
    return task


app = FastAPI()
app.include_router(router)


def fill(users: int, each: int) -> None:
    """Create the tables and put the rows in."""
    SQLModel.metadata.create_all(engine)
    password_hash = passwords.hash(data.PASSWORD)
    accounts = [
        {
            "username": name,
            "email": f"{name}@example.com",
            "password_hash": password_hash,
            "disabled": False,
        }
        for name in data.usernames(users)
    ]
    rows = [
        row | {"version": 1, "priority": Priority[row["priority"]], "status": Status(row["status"])}
        for row in data.tasks(users, each)
    ]
    with Session(engine) as session:
        session.execute(insert(User), accounts)
        session.execute(insert(Task), rows)
        session.commit()
