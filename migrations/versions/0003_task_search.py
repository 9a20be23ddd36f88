"""Add full-text search of tasks."""

from collections.abc import Iterator
from itertools import groupby, zip_longest
from unicodedata import category, combining, normalize

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Unlike a tsvector's own input, array_to_tsvector takes each word just as it is.
words_type = sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")
VECTOR = "array_to_tsvector(string_to_array(:found, ' '))"

# Whatever is not white space is part of a word; beyond ASCII that is so anyway.
SIGNS = "".join(
    chr(code) for code in range(1, 128) if not chr(code).isalnum() | chr(code).isspace()
)
INDEX = """
    CREATE VIRTUAL TABLE tasks_search USING fts5 (
        search_words, content = 'tasks', content_rowid = 'id', detail = none, columnsize = 0,
        tokenize = {tokenizer}
    )
"""
ADD = "INSERT INTO tasks_search (rowid, search_words) VALUES (NEW.id, NEW.search_words);"
REMOVE = """
    INSERT INTO tasks_search (tasks_search, rowid, search_words)
    VALUES ('delete', OLD.id, OLD.search_words);
"""
TRIGGERS = {
    "insert": ("AFTER INSERT ON tasks", ADD),
    "update": (
        "AFTER UPDATE OF search_words ON tasks WHEN OLD.search_words <> NEW.search_words",
        REMOVE + ADD,
    ),
    "delete": ("AFTER DELETE ON tasks", REMOVE),
}

LONGEST_WORD = 500
LONGEST_SIGNS = 8
LETTER_MAKING = {0, 7, 8, 9}
STROKES = str.maketrans("đħıłøŧ", "dhilot")
BATCH = 1000


def upgrade() -> None:
    with_vectors = op.get_bind().dialect.name == "postgresql"
    # SQLite adds a column that can't be null only with a default.
    op.add_column("tasks", sa.Column("search_words", words_type, nullable=False, server_default=""))
    fill(VECTOR if with_vectors else ":found")
    if with_vectors:
        op.create_index(
            "ix_tasks_search_words",
            "tasks",
            ["search_words"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
    else:
        create_search_table(op.get_bind())


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_tasks_search_words", "tasks")
    else:
        for event in TRIGGERS:
            op.execute(f"DROP TRIGGER tasks_search_{event}")
        op.execute("DROP TABLE tasks_search")
    op.drop_column("tasks", "search_words")


def create_search_table(connection: sa.Connection) -> None:
    quoted = SIGNS.replace("'", "''")
    tokenizer = f"ascii tokenchars '{quoted}'".replace("'", "''")
    connection.exec_driver_sql(INDEX.format(tokenizer=f"'{tokenizer}'"))
    connection.exec_driver_sql("INSERT INTO tasks_search (tasks_search) VALUES ('rebuild')")
    for event, (when, body) in TRIGGERS.items():
        connection.exec_driver_sql(f"CREATE TRIGGER tasks_search_{event} {when} BEGIN {body} END")


def fill(found: str) -> None:
    rows = sa.text(
        "SELECT id, created_by, title, description FROM tasks"
        " WHERE id > :last ORDER BY id LIMIT :most"
    )
    change = sa.text(f"UPDATE tasks SET search_words = {found} WHERE id = :task_id")  # noqa: S608
    last, connection = 0, op.get_bind()
    while batch := connection.execute(rows, {"last": last, "most": BATCH}).all():
        found_words = [{"task_id": row.id, "found": stored_words(row)} for row in batch]
        connection.execute(change, found_words)
        last = batch[-1].id


def stored_words(row: sa.Row) -> str:
    found, text = set(), f"{row.title} {row.description or ''}"
    for kind, run in groupby(by_kind(normalize("NFC", text)), key=lambda pair: pair[0]):
        characters = "".join(character for _, character in run)
        if kind == "word":
            folded = normalize("NFD", characters).casefold().translate(STROKES)
            kept = "".join(c for c in folded if combining(c) in LETTER_MAKING)
            found.add(normalize("NFC", kept)[:LONGEST_WORD])
        elif kind == "signs":
            found.update(
                characters[start : start + LONGEST_SIGNS] for start in range(len(characters))
            )
    ordered = sorted(found)
    pairs = zip_longest(ordered, ordered[1:], fillvalue="")
    return " ".join(
        f"{row.created_by}:{word}" for word, following in pairs if not following.startswith(word)
    )


def by_kind(text: str) -> Iterator[tuple[str, str]]:
    kind = "space"
    for character in text:
        if character.isalnum():
            kind = "word"
        elif character.isspace():
            kind = "space"
        elif kind != "word" or not category(character).startswith("M"):
            kind = "signs"
        yield kind, character
