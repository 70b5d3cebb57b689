# SPDX-License-Identifier: Apache-2.0
"""What storage is called that has the name of another id than its volume: a column that is empty in all other rows."""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # On MySQL each statement commits: an interrupted run finds what was made.
    found = sa.inspect(op.get_bind())
    if 'name_id' not in {column['name'] for column in found.get_columns('volumes')}:
        op.add_column('volumes', sa.Column('name_id', sa.String(36), nullable=True))
