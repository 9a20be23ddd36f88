"""DDL that belongs to a table and that SQLAlchemy can't describe: triggers, virtual tables."""

from collections.abc import Iterable

from sqlalchemy import DDL, Table, event


def attach_ddl(
    table: Table, dialect: str, *, create: Iterable[str], drop: Iterable[str] = ()
) -> None:
    """Run statements whenever ``table`` is created or dropped on one database.

    Migrations have statements of their own, which don't change with these.
    """
    for moment, statements in (("after_create", create), ("after_drop", drop)):
        for statement in statements:
            # DDL substitutes %(table)s and the like.
            ddl = DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]  # as it comes
            event.listen(table, moment, ddl.execute_if(dialect=dialect))
