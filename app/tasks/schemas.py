"""What clients say and are told of tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_marshmallow import Schema
from marshmallow import ValidationError, fields, post_load, pre_dump, validate, validates_schema
from marshmallow_sqlalchemy import auto_field

from app.auth.schemas import PageQuery
from app.database import BIGGEST_ID
from app.errors import ValidationFailed, describe
from app.http.body import faults_of
from app.http.fields import (
    Day,
    DayOrInstant,
    Instant,
    OneOf,
    SomeOf,
    Sort,
    Switch,
    Text,
    TimeZone,
    TrueOrFalse,
    Whole,
    at_most_one,
)
from app.http.output import (
    AlwaysNull,
    OutputSchema,
    ProblemSchema,
    ResourceUrl,
    Shown,
    page_schema,
)
from app.tasks.models import Priority, Status, Task
from app.tasks.operations import Operation
from app.tasks.positions import LONGEST

SORTS = ("created_at", "updated_at", "due", "priority", "title", "position")


_both_due = {
    "required": ["due_date", "due_at"],
    "properties": {"due_date": {"type": "string"}, "due_at": {"type": "string"}},
}


class TaskFields(Schema):
    """What a client may say of a task."""

    class Meta:
        example = {"title": "Write the report", "priority": "high", "due_date": "2030-01-31"}
        rule = {"not": _both_due}

    title = Text(least=1, most=150, trim=True, required=True)
    description = Text(most=20_000, allow_none=True, load_default=None)
    status = OneOf(Status, load_default=Status.pending.value)
    priority = OneOf(Priority, load_default=Priority.none.name)
    due_date = Day(allow_none=True, load_default=None)
    due_at = Instant(allow_none=True, load_default=None)
    time_zone = TimeZone(allow_none=True, load_default=None)
    position = Text(
        least=1,
        most=LONGEST,
        pattern=r"[0-9A-Za-z]+",
        pattern_name="ASCII letters and digits",
    )

    @validates_schema
    def _has_one_due(self, data: Mapping[str, Any], **_: Any) -> None:
        at_most_one(data, "due_date", "due_at")


class CreateTaskSchema(TaskFields):
    pass


class ReplaceTaskSchema(TaskFields):
    class Meta:
        example = {"status": "in_progress"}
        rule = TaskFields.Meta.rule

    status = OneOf(Status, required=True)


class ChangeTaskSchema(TaskFields):
    pass


class ChangeStatusSchema(Schema):
    class Meta:
        example = {"status": "completed"}

    status = OneOf(Status, required=True)


# What an operation of each kind needs, and what it does not take.
OPERATION_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    "create": ({"body"}, {"id", "version"}),
    "update": ({"id", "body"}, set()),
    "delete": ({"id"}, {"body"}),
}


def _operation_rule(op: str) -> dict[str, Any]:
    needed, refused = OPERATION_FIELDS[op]
    nothing: dict[str, Any] = {"not": {}}  # which False says too, but apispec takes for a name
    return {
        "title": op,
        "properties": {"op": {"const": op}, **dict.fromkeys(sorted(refused), nothing)},
        "required": ["op", *sorted(needed)],
    }


class OperationSchema(Schema):
    class Meta:
        example = {"op": "update", "id": 1, "version": 1, "body": {"status": "completed"}}
        rule = {"oneOf": [_operation_rule(op) for op in OPERATION_FIELDS]}

    op = fields.String(required=True, validate=validate.OneOf(["create", "update", "delete"]))
    id = fields.Integer(strict=True, validate=validate.Range(1, BIGGEST_ID))
    version = fields.Integer(strict=True, validate=validate.Range(1, BIGGEST_ID))
    body = fields.Dict(keys=fields.String())

    @validates_schema(skip_on_field_errors=True)
    def _has_what_its_kind_needs(self, data: Mapping[str, Any], **_: Any) -> None:
        needed, refused = OPERATION_FIELDS[data["op"]]
        faults = {name: ["Needed here."] for name in needed - data.keys()}
        faults |= {name: ["Not taken here."] for name in refused & data.keys()}
        if faults:
            raise ValidationError(faults)

    @post_load
    def _read_body(self, data: dict[str, Any], **_: Any) -> Operation:
        operation = Operation(data["op"], data.get("id"), data.get("version"), {})
        schema = {"create": CREATE_TASK, "update": CHANGE_TASK}.get(operation.op)
        try:
            operation.body = schema.load(data["body"]) if schema else {}
        except ValidationError as error:
            operation.problem = ValidationFailed(list(faults_of(error.messages)))
        return operation


class BatchSchema(Schema):
    atomic = TrueOrFalse(load_default=False)
    operations = fields.List(
        fields.Nested(OperationSchema), required=True, validate=validate.Length(1, 100)
    )

    @validates_schema(skip_on_field_errors=True)
    def _names_each_task_once(self, data: Mapping[str, Any], **_: Any) -> None:
        seen: set[int] = set()
        for index, operation in enumerate(data["operations"]):
            if operation.id in seen:
                raise ValidationError({"operations": {index: {"id": ["Named twice."]}}})
            if operation.id is not None:
                seen.add(operation.id)


class TaskQuery(PageQuery):
    sort = Sort(SORTS, load_default="-created_at")
    owner_id = Whole(least=1, most=BIGGEST_ID, load_default=None)
    status = SomeOf(Status)
    priority = SomeOf(Priority)
    due_before = DayOrInstant()
    due_after = DayOrInstant()
    has_due = Switch()
    created_after = DayOrInstant()
    updated_since = DayOrInstant()
    completed_since = DayOrInstant()
    overdue = Switch()
    q = Text(least=1, most=200, trim=True)

    @post_load
    def _gather_filters(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        paging = {name: data.pop(name) for name in ("limit", "cursor", "sort", "owner_id")}
        return paging | {"filters": data}


class TaskSchema(OutputSchema):
    class Meta:
        model = Task
        example = {
            "id": 1,
            "title": "Write the report",
            "description": None,
            "status": "pending",
            "priority": "high",
            "due_date": "2030-01-31",
            "due_at": None,
            "time_zone": None,
            "position": "a0",
            "version": 1,
            "created_by": 1,
            "created_at": "2026-11-21T09:00:00.000000Z",
            "updated_at": "2026-11-21T09:00:00.000000Z",
            "completed_at": None,
            "deleted_at": None,
            "url": "https://api.example.com/api/v1/tasks/1",
        }

    id = auto_field()
    title = auto_field()
    description = auto_field()
    status = OneOf(Status)
    priority = OneOf(Priority)
    due_date = Day()
    due_at = Instant()
    time_zone = auto_field()
    position = auto_field()
    version = auto_field()
    created_by = auto_field()
    created_at = Instant()
    updated_at = Instant()
    completed_at = Instant()
    deleted_at = AlwaysNull(format="date-time", description="Always null: deleted tasks are gone.")
    url = ResourceUrl("/api/v1/tasks/")


class BatchResultSchema(Schema):
    class Meta:
        example = {"status": 200, "body": TaskSchema.Meta.example}

    status = fields.Integer(required=True)
    body = Shown(TaskSchema)
    problem = fields.Nested(ProblemSchema)

    @pre_dump
    def _tell_outcome(self, operation: Operation, **_: Any) -> dict[str, Any]:
        if operation.problem is not None:
            problem = operation.problem
            return {"status": int(problem.status), "problem": describe(problem)}
        if operation.op == "delete":
            return {"status": 204}
        return {"status": 201 if operation.op == "create" else 200, "body": operation.task}


class BatchAnswerSchema(Schema):
    results = fields.List(fields.Nested(BatchResultSchema), required=True)

    @pre_dump
    def _list_results(self, operations: Sequence[Operation], **_: Any) -> dict[str, Any]:
        return {"results": operations}


CREATE_TASK = CreateTaskSchema()
REPLACE_TASK = ReplaceTaskSchema()
CHANGE_TASK = ChangeTaskSchema(partial=True)
CHANGE_STATUS = ChangeStatusSchema()
TASK_QUERY = TaskQuery()
TASK = TaskSchema()
TASK_PAGE = page_schema(TASK)
BATCH = BatchSchema()
BATCH_ANSWER = BatchAnswerSchema()
