"""Indexes that differ by database."""

from sqlalchemy import Index


def dialect_index(dialect: str, index: Index) -> Index:
    """Return ``index``, restricted to one database."""
    index.info["dialect"] = dialect
    return index.ddl_if(dialect=dialect)


def keyset_index(table: str, *columns: str) -> tuple[Index, Index]:
    """Return the index of a keyset-paginated list, sorted by the last column and the id.

    SQLite appends the row id to every index.
    """
    name = f"ix_{table}_{'_'.join(columns)}"
    return (
        dialect_index("sqlite", Index(name, *columns)),
        dialect_index("postgresql", Index(f"{name}_id", *columns, "id")),
    )
