"""Full-text index of tasks on SQLite: an FTS5 table, kept up to date by triggers.

PostgreSQL has a GIN index instead, which the model declares.
"""

from sqlalchemy import Table

from app.db.ddl import attach_ddl

# Each ASCII sign is part of a token: words are separated by white space alone.
_TOKEN_SIGNS = "".join(
    sign for sign in map(chr, range(1, 128)) if not (sign.isalnum() or sign.isspace())
)
_TOKENIZER = "ascii tokenchars '{}'".format(_TOKEN_SIGNS.replace("'", "''")).replace("'", "''")
# The index stores no text: it reads the column of the table.
_CREATE_INDEX = f"""
CREATE VIRTUAL TABLE tasks_search USING fts5 (
    search_words, content = 'tasks', content_rowid = 'id', detail = none, columnsize = 0,
    tokenize = '{_TOKENIZER}'
)
"""
_ADD = "INSERT INTO tasks_search (rowid, search_words) VALUES (NEW.id, NEW.search_words);"
_REMOVE = """
INSERT INTO tasks_search (tasks_search, rowid, search_words)
VALUES ('delete', OLD.id, OLD.search_words);
"""
_TRIGGERS = (
    f"CREATE TRIGGER tasks_search_insert AFTER INSERT ON tasks BEGIN {_ADD} END",
    f"""
    CREATE TRIGGER tasks_search_update AFTER UPDATE OF search_words ON tasks
    WHEN OLD.search_words <> NEW.search_words BEGIN {_REMOVE} {_ADD} END
    """,
    f"CREATE TRIGGER tasks_search_delete AFTER DELETE ON tasks BEGIN {_REMOVE} END",
)


def attach_search_index(tasks: Table) -> None:
    """Create the index and its triggers with the table of tasks."""
    attach_ddl(
        tasks,
        "sqlite",
        create=(_CREATE_INDEX, *_TRIGGERS),
        drop=("DROP TABLE tasks_search",),
    )
