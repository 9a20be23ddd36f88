"""Schemas of tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import ValidationError, fields, post_load, pre_dump, validate, validates_schema
from webargs.fields import DelimitedList

from app.api.fields import (
    AwareDateTime,
    Date,
    DateOrDateTime,
    Enum,
    QueryBoolean,
    QueryInteger,
    Sort,
    StrictBoolean,
    String,
    TimeZone,
)
from app.api.parsing import body_errors
from app.api.schemas import (
    FilteredListSchema,
    ProblemSchema,
    ResourceURL,
    ResponseSchema,
    page_of,
)
from app.db.types import MAX_ID
from app.errors import ValidationFailed
from app.errors.handlers import to_dict
from app.extensions import ma
from app.tasks.batch import Operation
from app.tasks.listing import TASKS
from app.tasks.models import Priority, Status, Task
from app.tasks.positions import MAX_LENGTH

NOT_EMPTY = validate.Length(min=1)

_both_due = {
    "required": ["due_date", "due_at"],
    "properties": {"due_date": {"type": "string"}, "due_at": {"type": "string"}},
}


class TaskBodySchema(ma.Schema):
    """The fields of a task that clients can set."""

    class Meta:
        example = {"title": "Write the report", "priority": "high", "due_date": "2030-01-31"}
        rule = {"not": _both_due}

    title = String(min_length=1, max_length=150, strip=True, visible=True, required=True)
    description = String(max_length=20_000, allow_none=True, load_default=None)
    status = Enum(Status, load_default=Status.pending.value)
    priority = Enum(Priority, load_default=Priority.none.name)
    due_date = Date(allow_none=True, load_default=None)
    due_at = AwareDateTime(allow_none=True, load_default=None)
    time_zone = TimeZone(allow_none=True, load_default=None)
    position = String(
        min_length=1,
        max_length=MAX_LENGTH,
        pattern=r"[0-9A-Za-z]+",
        pattern_name="ASCII letters and digits",
    )

    @validates_schema
    def _check_one_due(self, data: Mapping[str, Any], **_: Any) -> None:
        if data.get("due_date") is not None and data.get("due_at") is not None:
            raise ValidationError(
                {
                    "due_date": ["Not together with due_at."],
                    "due_at": ["Not together with due_date."],
                }
            )


class CreateTaskSchema(TaskBodySchema):
    pass


class ReplaceTaskSchema(TaskBodySchema):
    class Meta:
        example = {"status": "in_progress"}
        rule = TaskBodySchema.Meta.rule

    status = Enum(Status, required=True)


class UpdateTaskSchema(TaskBodySchema):
    pass


class UpdateStatusSchema(ma.Schema):
    class Meta:
        example = {"status": "completed"}

    status = Enum(Status, required=True)


BODY_SCHEMAS = {"create": CreateTaskSchema(), "update": UpdateTaskSchema(partial=True)}

# The required and the forbidden fields of each operation.
OPERATION_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    "create": ({"body"}, {"id", "version"}),
    "update": ({"id", "body"}, set()),
    "delete": ({"id"}, {"body"}),
}


def _operation_rule(op: str) -> dict[str, Any]:
    required, forbidden = OPERATION_FIELDS[op]
    nothing: dict[str, Any] = {"not": {}}  # the schema False, which apispec takes for a name
    return {
        "title": op,
        "properties": {"op": {"const": op}, **dict.fromkeys(sorted(forbidden), nothing)},
        "required": ["op", *sorted(required)],
    }


class OperationSchema(ma.Schema):
    class Meta:
        example = {"op": "update", "id": 1, "version": 1, "body": {"status": "completed"}}
        rule = {"oneOf": [_operation_rule(op) for op in OPERATION_FIELDS]}

    op = fields.String(required=True, validate=validate.OneOf(["create", "update", "delete"]))
    id = fields.Integer(strict=True, validate=validate.Range(1, MAX_ID))
    version = fields.Integer(strict=True, validate=validate.Range(1, MAX_ID))
    body = fields.Dict(keys=fields.String())

    @validates_schema(skip_on_field_errors=True)
    def _check_fields(self, data: Mapping[str, Any], **_: Any) -> None:
        required, forbidden = OPERATION_FIELDS[data["op"]]
        errors = {name: ["Required by this operation."] for name in required - data.keys()}
        errors |= {name: ["Not allowed in this operation."] for name in forbidden & data.keys()}
        if errors:
            raise ValidationError(errors)

    @post_load
    def _load_body(self, data: dict[str, Any], **_: Any) -> Operation:
        operation = Operation(data["op"], data.get("id"), data.get("version"), {})
        schema = BODY_SCHEMAS.get(operation.op)
        try:
            operation.body = schema.load(data["body"]) if schema else {}
        except ValidationError as error:
            operation.problem = ValidationFailed(body_errors(error.messages, TaskSchema()))
        return operation


class BatchSchema(ma.Schema):
    atomic = StrictBoolean(load_default=False)
    operations = fields.List(
        fields.Nested(OperationSchema), required=True, validate=validate.Length(1, 100)
    )

    @validates_schema(skip_on_field_errors=True)
    def _check_ids_are_unique(self, data: Mapping[str, Any], **_: Any) -> None:
        seen: set[int] = set()
        for index, operation in enumerate(data["operations"]):
            if operation.id in seen:
                raise ValidationError({"operations": {index: {"id": ["Used more than once."]}}})
            if operation.id is not None:
                seen.add(operation.id)


class TaskQuerySchema(FilteredListSchema):
    sort = Sort(TASKS.sorts, load_default="-created_at")
    owner_id = QueryInteger(minimum=1, maximum=MAX_ID, load_default=None)
    status = DelimitedList(Enum(Status), validate=NOT_EMPTY)
    priority = DelimitedList(Enum(Priority), validate=NOT_EMPTY)
    due_before = DateOrDateTime()
    due_after = DateOrDateTime()
    has_due = QueryBoolean()
    created_after = DateOrDateTime()
    updated_since = DateOrDateTime()
    completed_since = DateOrDateTime()
    overdue = QueryBoolean()
    q = String(min_length=1, max_length=200, strip=True)


class TaskSchema(ResponseSchema):
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

    id = ma.auto_field()
    title = ma.auto_field()
    description = ma.auto_field()
    status = Enum(Status)
    priority = Enum(Priority)
    due_date = Date()
    due_at = AwareDateTime()
    time_zone = ma.auto_field()
    position = ma.auto_field()
    version = ma.auto_field()
    created_by = ma.auto_field()
    created_at = AwareDateTime()
    updated_at = AwareDateTime()
    completed_at = AwareDateTime()
    # The type is that of a timestamp, which clients are generated from.
    deleted_at = fields.Constant(
        None,
        metadata={
            "type": "string",
            "format": "date-time",
            "description": "Always null: deleted tasks are not kept.",
        },
    )
    url = ResourceURL("tasks.read_task", "task_id")


TaskPageSchema = page_of(TaskSchema)


class BatchResultSchema(ma.Schema):
    class Meta:
        example = {"status": 200, "body": TaskSchema.Meta.example}

    status = fields.Integer(required=True)
    body = fields.Nested(TaskSchema)
    problem = fields.Nested(ProblemSchema)

    @pre_dump
    def _build_result(self, operation: Operation, **_: Any) -> dict[str, Any]:
        if operation.problem is not None:
            problem = operation.problem
            return {"status": int(problem.status), "problem": to_dict(problem)}
        if operation.op == "delete":
            return {"status": 204}
        return {"status": 201 if operation.op == "create" else 200, "body": operation.task}


class BatchResponseSchema(ma.Schema):
    results = fields.List(fields.Nested(BatchResultSchema), required=True)

    @pre_dump
    def _wrap_results(self, operations: Sequence[Operation], **_: Any) -> dict[str, Any]:
        return {"results": operations}
