# SPDX-License-Identifier: Apache-2.0
"""What a target's driver needs to know of an attachment, in one statement."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from multiattach.db import models
from multiattach.db.commits import Work
from multiattach.domain import errors, extra_specs, imports, sharing, states

A = models.Attachment
_F = models.FencedHost
_MATE, _STRANGER, _TWIN, _OTHER, _PARTNER = (orm.aliased(A) for _ in range(5))


def _is_other(table: Any) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.volume_id == A.volume_id, table.deleted_at.is_(None), models.is_one_of(table.state, states.ON_TARGET))


def _find_partner() -> sa.ColumnElement[bool]:
    return (
        sa.exists()
        .where(*_is_other(_PARTNER), _PARTNER.shared_account == A.shared_account, _PARTNER.initiator != A.initiator)
        .correlate(A)
    )


def _is_imported() -> sa.ColumnElement[bool]:
    """By its key: the attachments of the volume, of which there may be a thousand, are not looked at."""
    item = models.ImportedItem
    return sa.exists().where(item.kind == imports.Kind.VOLUME, item.ident == A.volume_id).correlate(A)


def _find_twin() -> sa.ScalarSelect[str | None]:
    return (
        sa.select(sa.func.min(_TWIN.attached_host))
        .where(
            _TWIN.initiator == A.initiator,
            _TWIN.deleted_at.is_(None),
            models.is_one_of(_TWIN.state, states.ON_TARGET),
            _TWIN.attached_host != A.attached_host,
        )
        .correlate(A)
        .scalar_subquery()
    )


def _find_name() -> sa.ColumnElement[Any]:
    """Find after which id the volume is named, only where somebody asks."""
    found = sa.select(models.Volume.name_id).where(models.Volume.id == A.volume_id).correlate(A).scalar_subquery()
    return sa.case((models.is_one_of(A.state, (states.Attachment.EXPORTING,)), found))


def _find_spec(key: str) -> sa.ColumnElement[Any]:
    """Build an extra spec of the volume's type, only where somebody asks."""
    found = (
        sa.select(models.ExtraSpec.value)
        .join(models.Volume, models.Volume.volume_type_id == models.ExtraSpec.volume_type_id)
        .where(models.Volume.id == A.volume_id, models.ExtraSpec.key == key)
        .correlate(A)
        .scalar_subquery()
    )
    return sa.case((models.is_one_of(A.state, (states.Attachment.EXPORTING,)), found))


# At most one attachment of other initiators is looked at, so that the cost does not grow with sharers.
_READ = (
    sa.select(
        A.id,
        A.volume_id,
        A.state,
        A.initiator,
        A.attach_mode,
        A.error,
        A.connector,
        A.connection_info,
        _MATE.id.label('mate_id'),
        _MATE.state.label('mate_state'),
        _MATE.connection_info.label('mate_info'),
        _MATE.attach_mode.label('mate_mode'),
        A.shared_account,
        _MATE.shared_account.label('mate_account'),
        # Of accounts that Cinder made: others may have the same one, and the target may still admit everybody.
        sa.case((A.shared_account.is_not(None), _find_partner())).label('has_partner'),
        sa.or_(A.shared_account.is_not(None), _is_imported()).label('is_adopted'),
        sa.select(_STRANGER.state)
        .where(*_is_other(_STRANGER), _STRANGER.initiator != sa.func.coalesce(A.initiator, sa.literal_column("''")))
        .correlate(A)
        .limit(sa.literal_column('1'))
        .scalar_subquery()
        .label('stranger_state'),
        # All that the initiator has is looked at, on whatever volume: only where somebody asks.
        sa.case((models.is_one_of(A.state, (states.Attachment.EXPORTING,)), _find_twin())).label('twin_host'),
        sa.exists()
        .where(_OTHER.volume_id == A.volume_id, _OTHER.deleted_at.is_(None), _OTHER.id != A.id)
        .correlate(A)
        .label('has_others'),
        _F.host.label('fenced_host'),
        _F.fenced_at.label('host_fenced_at'),
        _F.reason.label('fence_reason'),
        sa.select(models.TypeQos.qos_specs_id)
        .join(models.Volume, models.Volume.volume_type_id == models.TypeQos.volume_type_id)
        .where(models.Volume.id == A.volume_id)
        .correlate(A)
        .scalar_subquery()
        .label('qos_specs_id'),
        _find_name().label('name_id'),
        *(_find_spec(key).label(name) for key, name in extra_specs.OF_TARGETS.items()),
    )
    .select_from(A)
    .outerjoin(_MATE, sa.and_(*_is_other(_MATE), _MATE.id != A.id, _MATE.initiator == A.initiator))
    .outerjoin(_F, _F.host == A.attached_host)
    .where(A.id == sa.bindparam('ident'), A.deleted_at.is_(None))
)


@dataclasses.dataclass(frozen=True)
class Mate:
    """Another attachment of the same initiator to the same volume, which may be on the target."""

    id: str
    state: str
    connection_info: dict[str, Any] | None = dataclasses.field(repr=False)
    shared_account: str | None = None
    mode: str | None = None


@dataclasses.dataclass(frozen=True)
class HostMark:
    host: str
    fenced_at: datetime.datetime
    reason: str | None


@dataclasses.dataclass(frozen=True)
class ExportRow:
    """An attachment, those of the same initiator, and whether there is another one.

    :param initiator: iSCSI initiator name, None if no host ever connected.
    :param error: why the attach failed on its host, or None.
    :param mates: others of the same initiator.
    :param stranger: state of one attachment of another initiator, None if there is none.
    :param mark: mark of its host, None if the host is not fenced.
    :param has_qos: the type of the volume has QoS specs.
    :param twin_host: another host with an attachment, of any volume, of the same initiator; None without, and in other
        states than ``exporting``.
    :param is_alone: the volume has no other attachment.
    :param shared_account: account that it has of Cinder, None if it is the initiator's own.
    :param has_partner: another initiator has the same account.
    :param is_adopted: the volume is of Cinder, and its target may be as Cinder made it.
    :param specs: what its type says by :data:`~multiattach.domain.extra_specs.OF_TARGETS`, as *twin_host*.
    """

    id: str
    volume_id: str
    state: str
    initiator: str | None
    attach_mode: str | None
    error: str | None
    connector: dict[str, Any] | None = dataclasses.field(repr=False)
    connection_info: dict[str, Any] | None = dataclasses.field(repr=False)
    mates: tuple[Mate, ...]
    stranger: str | None
    mark: HostMark | None
    has_qos: bool
    twin_host: str | None = None
    is_alone: bool = False
    shared_account: str | None = None
    has_partner: bool = False
    is_adopted: bool = False
    specs: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    name_id: str | None = None

    @property
    def sharers(self) -> list[sharing.Sharer]:
        """Who else may use the target, as far as rules on the last one ask for it."""
        found = [sharing.Sharer(one.id, one.state, None, None, self.initiator) for one in self.mates]
        if self.stranger is not None:
            found.append(sharing.Sharer('', self.stranger, None, None, None))
        return found


def read(work: Work, attachment_id: str) -> ExportRow:
    """Read an attachment for a step on its target."""
    rows = work.execute(_READ, {'ident': attachment_id}).all()
    if not rows:
        raise errors.AttachmentNotFound(attachment_id)
    row = rows[0]
    return ExportRow(
        row.id,
        row.volume_id,
        row.state,
        row.initiator,
        row.attach_mode,
        row.error,
        row.connector,
        row.connection_info,
        tuple(
            Mate(each.mate_id, each.mate_state, each.mate_info, each.mate_account, each.mate_mode)
            for each in rows
            if each.mate_id
        ),
        row.stranger_state,
        HostMark(row.fenced_host, row.host_fenced_at, row.fence_reason) if row.fenced_host else None,
        row.qos_specs_id is not None,
        row.twin_host,
        not row.has_others,
        row.shared_account,
        bool(row.has_partner),
        bool(row.is_adopted),
        {key: getattr(row, name) for key, name in extra_specs.OF_TARGETS.items()},
        row.name_id,
    )
