# SPDX-License-Identifier: Apache-2.0
"""The tables of volumes that go to another project or to another backend; also in :mod:`multiattach.db.models`."""

import datetime

import sqlalchemy as sa
from sqlalchemy import orm

from multiattach.db.base import Base, Lifetime, now


class Transfer(Lifetime, Base):
    """An offer of a volume to whoever has the key; ``deleted_at`` says that it was accepted or withdrawn.

    ``key_hash`` is a salted hash: nobody can read the key.
    """

    __tablename__ = 'volume_transfers'
    __table_args__ = (
        sa.Index(None, 'volume_id', 'deleted_at'),
        sa.Index(None, 'source_project_id', 'deleted_at', 'created_at', 'id'),
        sa.Index(None, 'deleted_at', 'created_at', 'id'),
    )

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('volumes.id'))
    display_name: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    salt: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    key_hash: orm.Mapped[str] = orm.mapped_column(sa.String(128))
    no_snapshots: orm.Mapped[bool] = orm.mapped_column(default=False)
    source_project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    destination_project_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    accepted: orm.Mapped[bool] = orm.mapped_column(default=False)

    @property
    def project_id(self) -> str:
        """Whose it is, as long as it is open."""
        return self.source_project_id


class Migration(Lifetime, Base):
    """A volume on its way to another backend; ``deleted_at`` says that nothing is left to do.

    ``state`` is one of :class:`multiattach.domain.migrations.State`. ``marker`` is the volume's ``updated_at`` as this
    migration wrote it last: another value says that somebody else changed the volume. ``digest`` is the SHA-256 of
    what was copied, as it was read from the source and read back from the destination.
    """

    __tablename__ = 'volume_migrations'
    __table_args__ = (
        sa.Index(None, 'volume_id', 'deleted_at'),
        sa.Index(None, 'destination', 'deleted_at', 'state'),
        sa.Index(None, 'source', 'deleted_at', 'state'),
    )

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    # No foreign key: a volume's row may be purged before the last trace is gone.
    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36))
    source: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    destination: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    zone: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    service_uuid: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    # Of a retype: the type that the volume gets with its new backend.
    new_type_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    # Status that the volume has meanwhile; with "available" others may use it, which ends the migration.
    held_status: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    marker: orm.Mapped[datetime.datetime]
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    state_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    # Of the attempt at the copy that counts.
    token: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    progress: orm.Mapped[int] = orm.mapped_column(default=0)
    digest: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    error: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    request_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
