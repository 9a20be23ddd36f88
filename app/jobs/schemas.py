"""Schemas of exports, imports and jobs."""

from typing import Any

from marshmallow import fields, validate
from marshmallow.utils import get_value
from webargs.fields import DelimitedList

from app.api.fields import AwareDateTime, Enum, QueryBoolean, Sort
from app.api.parsing import JSON
from app.api.schemas import (
    Embedded,
    FieldErrorSchema,
    FilteredListSchema,
    ProblemSchema,
    ResourceURL,
    ResponseSchema,
    page_of,
)
from app.extensions import ma
from app.jobs.models import FileFormat, Job, JobKind, JobState
from app.tasks.schemas import CreateTaskSchema, TaskSchema

NOT_EMPTY = validate.Length(min=1)
COLUMNS = tuple(TaskSchema().dump_fields)
# Ignored by imports, so that a client can import an export.
READ_ONLY = frozenset(COLUMNS) - frozenset(CreateTaskSchema().fields)

FORM = "multipart/form-data"
CSV, ICALENDAR = "text/csv", "text/calendar"
MEDIA_TYPES = {FileFormat.json: JSON, FileFormat.csv: CSV, FileFormat.icalendar: ICALENDAR}
EXTENSIONS = {FileFormat.json: "json", FileFormat.csv: "csv", FileFormat.icalendar: "ics"}
# Of the media types beside JSON.
EXAMPLES = {
    CSV: "title,priority\r\nWrite the report,high\r\n",
    ICALENDAR: (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nBEGIN:VTODO\r\n"
        "UID:1@example.com\r\nDTSTAMP:20261121T090000Z\r\nSUMMARY:Write the report\r\n"
        "END:VTODO\r\nEND:VCALENDAR\r\n"
    ),
}


class CreateExportSchema(ma.Schema):
    class Meta:
        example = {"format": "csv"}

    format = Enum(MEDIA_TYPES, required=True)


class ImportQuerySchema(ma.Schema):
    format = Enum(FileFormat)
    dry_run = QueryBoolean(load_default=False)


class JobQuerySchema(FilteredListSchema):
    sort = Sort(("created_at",), load_default="-created_at")
    kind = DelimitedList(Enum(JobKind), validate=NOT_EMPTY)
    state = DelimitedList(Enum(JobState), validate=NOT_EMPTY)


class ProgressSchema(ma.Schema):
    """Number of processed rows; ``total`` is null until it is known."""

    class Meta:
        example = {"done": 200, "total": 200}

    done = fields.Integer(required=True)
    total = fields.Integer(required=True, allow_none=True)


class ResultURL(ResourceURL):
    """The URL of a job's result, or null while there is none."""

    def serialize(self, attr: str, obj: Any, accessor: Any = None, **kwargs: Any) -> str | None:
        if get_value(obj, "result_bytes") is None:
            return None
        return super().serialize(attr, obj, accessor, **kwargs)


class JobSchema(ResponseSchema):
    """An export or import."""

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

    id = ma.auto_field()
    kind = Enum(JobKind)
    format = Enum(FileFormat)
    state = Enum(JobState)
    progress = Embedded(ProgressSchema)
    result = ResultURL("jobs.read_job_result", "job_id", allow_none=True)
    problem = fields.Nested(ProblemSchema, allow_none=True)
    created_at = AwareDateTime()
    finished_at = AwareDateTime()
    url = ResourceURL("jobs.read_job", "job_id")


JobPageSchema = page_of(JobSchema)


class ReportEntrySchema(ma.Schema):
    """A row that was not imported: its number, the number of its first line, and why.

    ``errors`` are those of a refused row; ``skipped`` says what a row is that is not a task.
    """

    class Meta:
        example = {
            "row": 2,
            "line": 3,
            "errors": [{"pointer": "/title", "detail": "Must not be empty."}],
        }

    row = fields.Integer(required=True)
    line = fields.Integer(required=True)
    errors = fields.List(fields.Nested(FieldErrorSchema))
    skipped = fields.String()


REPORT_EXAMPLE = {
    "created": 199,
    "refused": 1,
    "skipped": 0,
    "not_read": {"RRULE": 3},
    "rows": [ReportEntrySchema.Meta.example],
}


class ResultSchema(ma.Schema):
    """``tasks`` of an export, or the report of an import.

    ``not_read`` names the parts that were not imported, with the number of rows that have them.
    """

    class Meta:
        example = REPORT_EXAMPLE

    tasks = fields.List(fields.Nested(TaskSchema))
    created = fields.Integer()
    refused = fields.Integer()
    skipped = fields.Integer()
    not_read = fields.Dict(keys=fields.String(), values=fields.Integer())
    rows = fields.List(fields.Nested(ReportEntrySchema))


class DryRunSchema(ma.Schema):
    """The report that an import would have, with the first rows and tasks.

    ``complete`` is false if the file has more rows than a dry run reads.
    """

    class Meta:
        example = {
            **REPORT_EXAMPLE,
            "tasks": [CreateTaskSchema.Meta.example],
            "complete": True,
        }

    created = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    skipped = fields.Integer(required=True)
    not_read = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    rows = fields.List(fields.Nested(ReportEntrySchema), required=True)
    tasks = fields.List(fields.Nested(CreateTaskSchema), required=True)
    complete = fields.Boolean(required=True)


# The request bodies of an import.
UPLOAD_CONTENT = {
    JSON: {
        "schema": {
            "description": (
                "An array of tasks as in the body of `POST /api/v1/tasks`, or an object with the"
                " array as `tasks`. Read-only fields are ignored."
            )
        },
        "example": {"tasks": [{"title": "Write the report", "priority": "high"}]},
    },
    **{
        media_type: {
            "schema": {"description": "A file in UTF-8, or in UTF-16 with a BOM."},
            "example": example,
        }
        for media_type, example in EXAMPLES.items()
    },
    FORM: {
        "schema": {
            "type": "object",
            "properties": {
                "file": {
                    "type": "string",
                    "format": "binary",
                    "description": "The file. Its media type or its name determines the format.",
                },
                "format": {"type": "string", "enum": [name.value for name in FileFormat]},
            },
            "required": ["file"],
            "additionalProperties": False,
        },
        "example": {"file": EXAMPLES[CSV]},
    },
}
