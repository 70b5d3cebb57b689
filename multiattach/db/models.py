# SPDX-License-Identifier: Apache-2.0
"""The tables. A row with ``deleted_at`` set is history: kept until ``multiattach-manage db purge``."""

import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from multiattach.db.base import (
    NAMING as NAMING,
    Base as Base,
    Instant as Instant,
    Json as Json,
    Lifetime as Lifetime,
    LongText as LongText,
    is_one_of as is_one_of,
    now as now,
    table_of as table_of,
)
from multiattach.db.move_models import Migration as Migration, Transfer as Transfer


class VolumeType(Lifetime, Base):
    """A volume type; its extra specs say whether volumes may be shared."""

    __tablename__ = 'volume_types'
    # live_name is the name while the type lives and NULL after: unique among the living.
    __table_args__ = (sa.UniqueConstraint('live_name'),)

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    live_name: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    description: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    is_public: orm.Mapped[bool] = orm.mapped_column(default=True)
    specs: orm.Mapped[list['ExtraSpec']] = orm.relationship(
        lazy='raise_on_sql', cascade='all, delete-orphan', order_by='ExtraSpec.key'
    )
    qos: orm.Mapped['TypeQos | None'] = orm.relationship(lazy='raise_on_sql', viewonly=True)

    @property
    def qos_specs_id(self) -> str | None:
        return self.qos.qos_specs_id if self.qos is not None else None

    @property
    def extra_specs(self) -> dict[str, str | None]:
        return {spec.key: spec.value for spec in self.specs}


class ExtraSpec(Base):
    """One extra spec of a type."""

    __tablename__ = 'volume_type_extra_specs'

    volume_type_id: orm.Mapped[str] = orm.mapped_column(
        sa.String(36), sa.ForeignKey('volume_types.id'), primary_key=True
    )
    key: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    value: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))


class TypeAccess(Base):
    """A project that may use a type that is not public."""

    __tablename__ = 'volume_type_projects'

    volume_type_id: orm.Mapped[str] = orm.mapped_column(
        sa.String(36), sa.ForeignKey('volume_types.id'), primary_key=True
    )
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)


class TypeEncryption(Base):
    """How volumes of a type would be encrypted; such a type is never multiattach."""

    __tablename__ = 'volume_type_encryptions'

    volume_type_id: orm.Mapped[str] = orm.mapped_column(
        sa.String(36), sa.ForeignKey('volume_types.id'), primary_key=True
    )
    encryption_id: orm.Mapped[str] = orm.mapped_column(sa.String(36))
    provider: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    control_location: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    cipher: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    key_size: orm.Mapped[int | None]
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    updated_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(onupdate=now)


class QosSpecs(Base):
    """How fast volumes may be; ``consumer`` says who sees to it."""

    __tablename__ = 'qos_specs'
    __table_args__ = (sa.UniqueConstraint('name'),)

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    consumer: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    updated_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(onupdate=now)
    items: orm.Mapped[list['QosSpec']] = orm.relationship(lazy='raise_on_sql', viewonly=True, order_by='QosSpec.key')

    @property
    def specs(self) -> dict[str, str | None]:
        return {item.key: item.value for item in self.items}


class QosSpec(Base):
    """One key of QoS specs."""

    __tablename__ = 'qos_specs_items'

    qos_specs_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('qos_specs.id'), primary_key=True)
    key: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    value: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))


class TypeQos(Base):
    """The QoS specs that a type has; gone when either goes."""

    __tablename__ = 'volume_type_qos_specs'
    __table_args__ = (sa.Index(None, 'qos_specs_id'),)

    volume_type_id: orm.Mapped[str] = orm.mapped_column(
        sa.String(36), sa.ForeignKey('volume_types.id'), primary_key=True
    )
    qos_specs_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('qos_specs.id'))


class DefaultType(Base):
    """The type that a project's volumes get if none is asked for (3.62)."""

    __tablename__ = 'default_volume_types'

    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    volume_type_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('volume_types.id'))


class QuotaLimit(Base):
    """A limit that an admin set, for a project or for a quota class."""

    __tablename__ = 'quota_limits'

    scope: orm.Mapped[str] = orm.mapped_column(sa.String(16), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    # A resource may end in the name of a type, which has up to 255 characters itself.
    resource: orm.Mapped[str] = orm.mapped_column(sa.String(300), primary_key=True)
    hard_limit: orm.Mapped[int]


class ProjectLock(Base):
    """A row to lock while what a project has is counted and added to."""

    __tablename__ = 'project_locks'

    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)


class Volume(Lifetime, Base):
    """A volume. ``status`` is written by :mod:`multiattach.db.transitions` only."""

    __tablename__ = 'volumes'
    __table_args__ = (
        sa.Index(None, 'project_id', 'deleted_at', 'created_at', 'id'),
        sa.Index(None, 'host', 'deleted_at', 'status'),
        sa.Index(None, 'deleted_at', 'created_at', 'id'),
        sa.Index(None, 'volume_type_id', 'deleted_at'),
        # For lists in another order, or of few of many; those of one project are found by one of them or the other.
        *(sa.Index(None, 'deleted_at', name, 'id') for name in ('display_name', 'size', 'status', 'updated_at')),
        sa.Index(None, 'availability_zone', 'deleted_at', 'created_at', 'id'),
    )

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    user_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    display_name: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    display_description: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    size: orm.Mapped[int]
    new_size: orm.Mapped[int | None]
    volume_type_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('volume_types.id'))
    multiattach: orm.Mapped[bool] = orm.mapped_column(default=False)
    bootable: orm.Mapped[bool] = orm.mapped_column(default=False)
    readonly: orm.Mapped[bool | None]
    host: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    availability_zone: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    service_uuid: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    status: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    status_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    claim: orm.Mapped[str | None] = orm.mapped_column(sa.String(16))
    claimed_at: orm.Mapped[datetime.datetime | None]
    request_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    # Where a migration is, as admins see it; and what the storage is called until it is managed, or since it no
    # longer is: of a deleted volume it tells that its storage was given back.
    migration_status: orm.Mapped[str | None] = orm.mapped_column(sa.String(32))
    managed_from: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    # After which id storage and target are named, if not after the volume's own: Cinder migrated it. It never changes.
    name_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    # No foreign key: a clone outlives its source.
    source_volid: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    # Nor here: a volume that was made from a snapshot outlives it.
    snapshot_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    volume_type: orm.Mapped[VolumeType] = orm.relationship(lazy='raise_on_sql')
    attachments: orm.Mapped[list['Attachment']] = orm.relationship(
        lazy='raise_on_sql',
        viewonly=True,
        order_by='Attachment.created_at',
        primaryjoin='and_(Attachment.volume_id == Volume.id, Attachment.deleted_at.is_(None))',
    )


@dataclasses.dataclass(slots=True)
class VolumeDetail:
    """A volume with what its views show of its type, its metadata and its live attachments; no mapped row."""

    id: str
    project_id: str
    user_id: str | None
    display_name: str | None
    display_description: str | None
    size: int
    volume_type_id: str
    multiattach: bool
    bootable: bool
    readonly: bool | None
    host: str | None
    availability_zone: str | None
    service_uuid: str | None
    status: str
    created_at: datetime.datetime
    updated_at: datetime.datetime | None
    source_volid: str | None
    snapshot_id: str | None
    migration_status: str | None
    name_id: str | None
    type_name: str
    metadata: dict[str, str]
    image_metadata: dict[str, str]
    # Rows with some columns of :class:`Attachment`, oldest first.
    attachments: list[Any]


class VolumeMetadata(Base):
    """One item of a volume's user metadata."""

    __tablename__ = 'volume_metadata'
    __table_args__ = (sa.Index(None, 'key', 'value'),)

    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('volumes.id'), primary_key=True)
    key: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    value: orm.Mapped[str] = orm.mapped_column(sa.String(255))


class Snapshot(Lifetime, Base):
    """What a volume had at a moment. ``status`` is written by :mod:`multiattach.db.snapshots` only.

    It is where its volume is, and of its volume's type.
    """

    __tablename__ = 'snapshots'
    __table_args__ = (
        sa.Index(None, 'volume_id', 'deleted_at', 'created_at', 'id'),
        sa.Index(None, 'project_id', 'deleted_at', 'created_at', 'id'),
        sa.Index(None, 'deleted_at', 'created_at', 'id'),
        sa.Index(None, 'status', 'deleted_at'),
    )

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('volumes.id'))
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    user_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    display_name: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    display_description: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    # GiB that the volume had then.
    size: orm.Mapped[int]
    status: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    status_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    progress: orm.Mapped[str] = orm.mapped_column(sa.String(8))
    request_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    # What the storage is called until the snapshot is available, None if it is to be taken; of a deleted one that
    # its storage was given back, as for a volume.
    managed_from: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))


@dataclasses.dataclass(slots=True)
class SnapshotDetail:
    """A snapshot with what its views show of its metadata; no mapped row."""

    id: str
    volume_id: str
    project_id: str
    user_id: str | None
    display_name: str | None
    display_description: str | None
    size: int
    status: str
    progress: str
    created_at: datetime.datetime
    updated_at: datetime.datetime | None
    metadata: dict[str, str]


class SnapshotMetadata(Base):
    """One item of a snapshot's user metadata."""

    __tablename__ = 'snapshot_metadata'
    __table_args__ = (sa.Index(None, 'key', 'value'),)

    snapshot_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('snapshots.id'), primary_key=True)
    key: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    value: orm.Mapped[str] = orm.mapped_column(sa.String(255))


class ImageMetadata(Base):
    """One item of what is known of the image that a volume was made of."""

    __tablename__ = 'volume_image_metadata'

    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('volumes.id'), primary_key=True)
    key: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    value: orm.Mapped[str] = orm.mapped_column(sa.Text)


class ImageCopy(Base):
    """What is to be copied between a volume and an image; there is a row as long as there is something to do.

    ``purpose`` is one of :class:`multiattach.domain.images.Purpose`. The user's image metadata are his to change: what
    a worker reads, with rights of its own, stands here.
    """

    __tablename__ = 'image_copies'

    # No foreign key: an image that was begun is removed after its volume.
    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    image_id: orm.Mapped[str] = orm.mapped_column(sa.String(36))
    purpose: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    disk_format: orm.Mapped[str | None] = orm.mapped_column(sa.String(16))
    percent: orm.Mapped[int] = orm.mapped_column(default=0)
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)


class Attachment(Lifetime, Base):
    """One server's hold on a volume. ``state`` is written by ``db.transitions`` only.

    ``agent_host`` names the host agent that drives the attachment; NULL where Nova does.
    ``timeline`` holds one JSON object a line, appended in the UPDATE that moves the state; a long one
    keeps its ends.
    """

    __tablename__ = 'attachments'
    __table_args__ = (
        sa.Index(None, 'volume_id', 'deleted_at', 'state'),
        sa.Index(None, 'volume_id', 'deleted_at', 'created_at', 'id'),
        sa.Index(None, 'instance_uuid', 'deleted_at'),
        sa.Index(None, 'agent_host', 'deleted_at', 'state'),
        sa.Index(None, 'attached_host', 'deleted_at', 'state'),
        sa.Index(None, 'agent_host', 'fenced_at'),
        sa.Index(None, 'state'),
        sa.Index(None, 'initiator', 'deleted_at'),
        sa.Index(None, 'deleted_at', 'created_at', 'id'),
    )

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), sa.ForeignKey('volumes.id'))
    instance_uuid: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    state: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    state_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    attach_mode: orm.Mapped[str | None] = orm.mapped_column(sa.String(8))
    attached_host: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    initiator: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    # Name of the account if it is not the initiator's own: Cinder gave all initiators of a volume the same one.
    shared_account: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    mountpoint: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    connector: orm.Mapped[Any] = orm.mapped_column(Json, nullable=True, deferred=True)
    connection_info: orm.Mapped[Any] = orm.mapped_column(Json, nullable=True, deferred=True)
    attached_at: orm.Mapped[datetime.datetime | None]
    detached_at: orm.Mapped[datetime.datetime | None]
    error: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    # What a fence saw on the target; and when the host agent, back again, had let go of the device.
    fenced_at: orm.Mapped[datetime.datetime | None]
    fence_proof: orm.Mapped[Any] = orm.mapped_column(Json, nullable=True, deferred=True)
    swept_at: orm.Mapped[datetime.datetime | None]
    agent_host: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    tag: orm.Mapped[str | None] = orm.mapped_column(sa.String(60))
    # GiB that the server was told of; a host agent makes it the volume's size.
    seen_size: orm.Mapped[int | None]
    delete_on_termination: orm.Mapped[bool] = orm.mapped_column(default=False)
    timeline: orm.Mapped[str] = orm.mapped_column(LongText, default='', deferred=True)
    volume: orm.Mapped[Volume] = orm.relationship(lazy='raise_on_sql', viewonly=True)

    @property
    def has_connector(self) -> bool:
        """A host is known; asks for the loaded connector."""
        return self.connector is not None


class Service(Base):
    """A worker or an agent, with what it reports of itself."""

    __tablename__ = 'services'
    __table_args__ = (sa.UniqueConstraint('binary', 'host'),)

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    binary: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    host: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    availability_zone: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    disabled: orm.Mapped[bool] = orm.mapped_column(default=False)
    disabled_reason: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    updated_at: orm.Mapped[datetime.datetime | None]
    heartbeat_at: orm.Mapped[datetime.datetime | None]
    report: orm.Mapped[Any] = orm.mapped_column(Json, nullable=True)


class FencedHost(Base):
    """A compute host that is to have no volume until a person says otherwise."""

    __tablename__ = 'fenced_hosts'

    host: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    fenced_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    # All that it had is removed, too, not only cut off.
    out_of_service: orm.Mapped[bool] = orm.mapped_column(default=False)
    reason: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    request_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))


class StepLease(Base):
    """Who has a step in hand that takes long, or when it is tried again. Most steps never have a row.

    ``since`` is when the attachment or volume took its state: with another value the row is of an earlier
    step and counts as absent. ``retry_at`` is NULL while somebody is at it.
    """

    __tablename__ = 'step_leases'

    ident: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    since: orm.Mapped[datetime.datetime]
    owner: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    lease_until: orm.Mapped[datetime.datetime]
    attempts: orm.Mapped[int] = orm.mapped_column(default=0)
    retry_at: orm.Mapped[datetime.datetime | None]
    error: orm.Mapped[str | None] = orm.mapped_column(sa.Text)


class Epoch(Base):
    """How far this database has come, as a backend's workers count it; a file at its targets says so, too.

    ``doubted_at`` is set when the file was ahead, or of another lineage: the database is an older copy, or
    another one. ``seen_lineage`` and ``seen_counter`` are what the file said then.
    """

    __tablename__ = 'epochs'

    backend: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    lineage: orm.Mapped[str] = orm.mapped_column(sa.String(36))
    counter: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    counted_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    doubted_at: orm.Mapped[datetime.datetime | None]
    seen_lineage: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    seen_counter: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)


class BlocklistEntry(Base):
    """An entry that this service made in the blocklist of a Ceph cluster, or is about to: one instance of a client.

    ``cause`` and ``owner`` say why: the fence of an initiator at a volume, or a gateway that was lost. ``until`` is
    when Ceph ends it, by its monitors' clock; NULL as long as that is not known.
    """

    __tablename__ = 'blocklist_entries'
    __table_args__ = (sa.Index(None, 'backend', 'until'), sa.Index(None, 'volume_id'))

    fsid: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    address: orm.Mapped[str] = orm.mapped_column(sa.String(80), primary_key=True)
    backend: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    cause: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    owner: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    volume_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    state_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    until: orm.Mapped[datetime.datetime | None]


class Gateway(Base):
    """A member of a cluster of volume workers that exports images on a target daemon of its own.

    ``state`` is one of :class:`multiattach.domain.gateways.State`; ``entries`` is what was blocklisted of it: by
    instance until when.
    """

    __tablename__ = 'gateways'

    name: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    backend: orm.Mapped[str] = orm.mapped_column(sa.String(255), index=True)
    portal: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    cephx_user: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    state_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    entries: orm.Mapped[Any] = orm.mapped_column(Json, nullable=True)


class GatewayExport(Base):
    """A volume at one gateway: written before anything is done there, and gone after the last trace is.

    ``state`` is one of :class:`multiattach.domain.gateways.Export`.
    """

    __tablename__ = 'gateway_exports'
    __table_args__ = (sa.Index(None, 'gateway', 'state'),)

    # No foreign key: a volume's row may be purged before a gateway that was lost is back.
    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    gateway: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    state_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    error: orm.Mapped[str | None] = orm.mapped_column(sa.Text)


class Server(Lifetime, Base):
    """A libvirt domain that a host agent registered (compute endpoint)."""

    __tablename__ = 'servers'
    __table_args__ = (sa.Index(None, 'host', 'deleted_at'),)

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    host: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    power_state: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    devices: orm.Mapped[Any] = orm.mapped_column(Json, nullable=True)


class Message(Base):
    """A message to the user about something that failed after the reply (3.3)."""

    __tablename__ = 'messages'
    __table_args__ = (sa.Index(None, 'project_id', 'created_at', 'id'),)

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    request_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    resource_type: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    resource_uuid: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    event_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    message_level: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    user_message: orm.Mapped[str] = orm.mapped_column(sa.Text)
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    guaranteed_until: orm.Mapped[datetime.datetime]


class ImportedItem(Base):
    """What was taken over from Cinder, as long as there is a way back.

    ``fingerprint`` tells what the item's rows were then: of other ones it is not known how to undo them.
    """

    __tablename__ = 'imported_items'

    kind: orm.Mapped[str] = orm.mapped_column(sa.String(16), primary_key=True)
    ident: orm.Mapped[str] = orm.mapped_column(sa.String(300), primary_key=True)
    fingerprint: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    imported_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
