# SPDX-License-Identifier: Apache-2.0
"""What was taken over from Cinder: a table, and a column that is empty in all other rows."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0014'
down_revision = '0013'
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
    found = sa.inspect(op.get_bind())
    if 'shared_account' not in {column['name'] for column in found.get_columns('attachments')}:
        op.add_column('attachments', sa.Column('shared_account', sa.String(255), nullable=True))
    if 'imported_items' not in found.get_table_names():
        op.create_table(
            'imported_items',
            sa.Column('kind', sa.String(16), nullable=False),
            sa.Column('ident', sa.String(300), nullable=False),
            sa.Column('fingerprint', sa.String(64), nullable=False),
            sa.Column('imported_at', _INSTANT, nullable=False),
            sa.PrimaryKeyConstraint('kind', 'ident', name='pk_imported_items'),
            **_MYSQL,
        )
