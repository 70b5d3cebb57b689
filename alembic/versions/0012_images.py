# SPDX-License-Identifier: Apache-2.0
"""What is copied between volumes and images: a new table, so that it can run while the service serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
_MYSQL = {
    f'{dialect}_{key}': value
    for dialect in ('mysql', 'mariadb')
    for key, value in (('engine', 'InnoDB'), ('charset', 'utf8mb4'), ('collate', 'utf8mb4_bin'))
}


def upgrade() -> None:
    # On MySQL each statement commits: an interrupted run finds what was made.
    if 'image_copies' in set(sa.inspect(op.get_bind()).get_table_names()):
        return
    op.create_table(
        'image_copies',
        sa.Column('volume_id', sa.String(36), nullable=False),
        sa.Column('image_id', sa.String(36), nullable=False),
        sa.Column('purpose', sa.String(16), nullable=False),
        sa.Column('disk_format', sa.String(16), nullable=True),
        sa.Column('percent', sa.Integer, nullable=False),
        sa.Column('created_at', _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint('volume_id', name='pk_image_copies'),
        **_MYSQL,
    )
