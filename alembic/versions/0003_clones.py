# SPDX-License-Identifier: Apache-2.0
"""What volumes are clones of: a new column and its index, so that it can run while the service serves."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('volumes', sa.Column('source_volid', sa.String(36), nullable=True))
