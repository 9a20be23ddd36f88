"""What clients say and are told of exports and imports."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any

from flask_marshmallow import Schema
from marshmallow import fields, post_load
from marshmallow_sqlalchemy import auto_field
from sqlalchemy.orm import InstrumentedAttribute

from app.auth.schemas import PageQuery
from app.http.answers import JSON
from app.http.fields import Instant, OneOf, SomeOf, Sort
from app.http.output import FaultSchema, OutputSchema, ProblemSchema, ResourceUrl, Row, page_schema
from app.jobs.models import Format, Job, Kind, State
from app.tasks.schemas import TaskSchema

# What files look like that are no JSON.
EXAMPLES = {
    "text/csv": "title,priority\r\nWrite the report,high\r\n",
    "text/calendar": (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nBEGIN:VTODO\r\n"
        "UID:1@example.com\r\nDTSTAMP:20261121T090000Z\r\nSUMMARY:Write the report\r\n"
        "END:VTODO\r\nEND:VCALENDAR\r\n"
    ),
}
FORM = "multipart/form-data"
JOBS = "/api/v1/jobs/"


class ExportFormat(StrEnum):
    """What tasks can be written in."""

    json = Format.json.value
    csv = Format.csv.value
    icalendar = Format.icalendar.value


class AskExportSchema(Schema):
    class Meta:
        example = {"format": "csv"}

    format = OneOf(ExportFormat, required=True)


class ImportQuery(Schema):
    format = OneOf(Format)


class JobQuery(PageQuery):
    sort = Sort(("created_at",), load_default="-created_at")
    kind = SomeOf(Kind)
    state = SomeOf(State)

    @post_load
    def _gather_filters(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        paging = {name: data.pop(name) for name in ("limit", "cursor", "sort")}
        return paging | {"filters": data}


class ProgressSchema(Schema):
    """How many rows or tasks are done, and of how many, once that is known."""

    class Meta:
        example = {"done": 200, "total": 200}

    done = fields.Integer(required=True)
    total = fields.Integer(required=True, allow_none=True)


class JobSchema(OutputSchema):
    """Work that was asked for, and how far it is."""

    class Meta:
        model = Job
        example = {
            "id": 1,
            "kind": "export",
            "format": "csv",
            "state": "succeeded",
            "progress": {"done": 200, "total": 200},
            "result": "https://api.example.com/api/v1/jobs/1/result",
            "problem": None,
            "created_at": "2026-11-21T09:00:00.000000Z",
            "finished_at": "2026-11-21T09:00:01.000000Z",
            "url": "https://api.example.com/api/v1/jobs/1",
        }

    id = auto_field()
    kind = OneOf(Kind)
    format = OneOf(Format)
    state = OneOf(State)
    progress = fields.Nested(ProgressSchema)
    result = fields.String(allow_none=True, metadata={"format": "uri"})
    problem = fields.Nested(ProblemSchema, allow_none=True)
    created_at = Instant()
    finished_at = Instant()
    url = ResourceUrl(JOBS)

    @cached_property
    def columns(self) -> tuple[InstrumentedAttribute[Any], ...]:
        return (*super().columns, Job.done, Job.total, Job.result_bytes)

    def from_rows(self, found: Sequence[Iterable[Any]]) -> list[Row]:
        return [self.from_row(values) for values in found]

    def from_row(self, values: Iterable[Any]) -> Row:
        keys = [column.key for column in self.columns]
        told = dict(zip(keys, values, strict=False))
        url = ResourceUrl(JOBS).of(told["id"])
        told |= {
            "progress": {"done": told["done"], "total": told["total"]},
            "result": None if told["result_bytes"] is None else f"{url}/result",
            "url": url,
        }
        return {name: told[name] for name in self.dump_fields}

    def from_model(self, instance: Job) -> Row:
        return self.from_row([getattr(instance, column.key) for column in self.columns])


class RefusedRowSchema(Schema):
    """A row that became no task: the how manieth it is, its first line, and why."""

    class Meta:
        example = {
            "row": 2,
            "line": 3,
            "errors": [{"pointer": "/title", "detail": "Must not be empty."}],
        }

    row = fields.Integer(required=True)
    line = fields.Integer(required=True)
    errors = fields.List(fields.Nested(FaultSchema), required=True)


class ResultSchema(Schema):
    """Of an export its ``tasks``; of an import what was ``created``, and what ``refused``."""

    class Meta:
        example = {"created": 199, "refused": 1, "rows": [RefusedRowSchema.Meta.example]}

    tasks = fields.List(fields.Nested(TaskSchema))
    created = fields.Integer()
    refused = fields.Integer()
    rows = fields.List(fields.Nested(RefusedRowSchema))


# What an import takes; its rows are judged when it runs.
FILES = {
    JSON: {
        "schema": {
            "description": (
                "Tasks as `POST /api/v1/tasks` takes them, or as an export has them: an array, or"
                " an object with that as `tasks`."
            )
        },
        "example": {"tasks": [{"title": "Write the report", "priority": "high"}]},
    },
    **{
        media_type: {"schema": {"description": "A file in UTF-8."}, "example": example}
        for media_type, example in EXAMPLES.items()
    },
    FORM: {
        "schema": {
            "type": "object",
            "properties": {
                "file": {
                    "type": "string",
                    "format": "binary",
                    "description": "The file; its type, else the end of its name, is its format.",
                },
                "format": {"type": "string", "enum": [format_.value for format_ in Format]},
            },
            "required": ["file"],
            "additionalProperties": False,
        },
        "example": {"file": EXAMPLES["text/csv"]},
    },
}

ASK_EXPORT = AskExportSchema()
IMPORT_QUERY = ImportQuery()
JOB_QUERY = JobQuery()
JOB = JobSchema()
JOB_PAGE = page_schema(JOB)
RESULT = ResultSchema()
