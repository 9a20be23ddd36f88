"""What our own formats say of a task: what clients may say, and what only the server tells."""

from app.tasks.schemas import CREATE_TASK, TASK

SAID = frozenset(CREATE_TASK.fields)
# In the order of a task's members.
COLUMNS = tuple(TASK.dump_fields)
# An export has them; an import makes its own.
SHOWN_ONLY = frozenset(COLUMNS) - SAID
