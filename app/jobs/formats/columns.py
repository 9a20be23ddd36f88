"""The fields of a task in JSON and CSV files."""

from app.tasks.schemas import CreateTaskSchema, TaskSchema

COLUMNS = tuple(TaskSchema().dump_fields)
# Ignored by imports, so that a client can import an export.
READ_ONLY = frozenset(COLUMNS) - frozenset(CreateTaskSchema().fields)
