"""Compare the domains of email addresses by their A-labels."""

import unicodedata
from collections.abc import Callable

import email_validator
import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

USERS = sa.table(
    "users", sa.column("id", sa.BigInteger), sa.column("email"), sa.column("email_key")
)


def upgrade() -> None:
    _replace_keys(_ascii_key)


def downgrade() -> None:
    """Restore the keys, except where two users would have the same one."""
    _replace_keys(_casefolded)


def _replace_keys(key_of: Callable[[str], str]) -> None:
    connection = op.get_bind()
    for user_id, email, old in connection.execute(sa.select(USERS)).all():
        key = key_of(email)
        if key == old:
            continue
        taken = sa.select(sa.exists().where(USERS.c.email_key == key))
        if not connection.scalar(taken):
            change = sa.update(USERS).where(USERS.c.id == user_id).values(email_key=key)
            connection.execute(change)


def _casefolded(email: str) -> str:
    return unicodedata.normalize("NFC", email.strip()).casefold()


def _ascii_key(email: str) -> str:
    try:
        address = email_validator.validate_email(
            email.strip(), check_deliverability=False, test_environment=True
        )
    except ValueError:
        return _casefolded(email)
    return f"{address.local_part.casefold()}@{address.ascii_domain}"
