"""Count the rows of imports that were skipped, and what was not read."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("skipped", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("not_read", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("jobs", "not_read")
    op.drop_column("jobs", "skipped")
