"""Indexes and other DDL that differ by database."""

from collections.abc import Iterable

from sqlalchemy import DDL, Index, Table, event


def attach_ddl(
    table: Table, dialect: str, *, create: Iterable[str], drop: Iterable[str] = ()
) -> None:
    """Run statements, such as triggers, whenever ``table`` is created or dropped on one database.

    Migrations have statements of their own, which don't change with these.
    """
    for moment, statements in (("after_create", create), ("after_drop", drop)):
        for statement in statements:
            # DDL substitutes %(table)s and the like.
            ddl = DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]  # as it comes
            event.listen(table, moment, ddl.execute_if(dialect=dialect))


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
