# SPDX-License-Identifier: Apache-2.0
"""What is written before a target is touched, and what is to be asked of its worker then."""

from sqlalchemy.orm import Session

from multiattach.db import attachments as db_attachments
from multiattach.db import models, transitions
from multiattach.domain import connection, errors, mode, sharing, states
from multiattach.rpc.clients import ExportOrder
from multiattach.steps import oddities


def begin_connect(
    session: Session, row: models.Attachment, wanted: connection.Connector, actor: transitions.Actor
) -> tuple[ExportOrder | None, bool]:
    """Write the intent to admit an initiator, unless it is admitted.

    :param row: the attachment with its volume, locked.
    :returns: what to ask of whom, None for nothing; and whether it had no connector before.
    :raises InvalidVolume: the status of the volume does not allow it, or it has no backend.
    :raises Conflict: the sharing rules say no (contract 2.2).
    """
    volume = row.volume
    if volume.status in states.WITHOUT_STORAGE and volume.status not in states.FAILED:
        raise errors.InvalidVolume(f'The volume is {volume.status}.')
    clash = []
    if not volume.multiattach or row.instance_uuid is not None:
        same = () if not volume.multiattach else (models.Attachment.instance_uuid == row.instance_uuid,)
        clash = db_attachments.list_sharers(session, volume.id, *same)
    me = sharing.Sharer(row.id, row.state, row.instance_uuid, row.attached_host, row.initiator)
    sharing.check_connect(
        sharing.VolumeFacts(volume.status, volume.multiattach), me, wanted.host, wanted.initiator, clash
    )
    if row.state in states.ADMITTED and row.connection_info is not None:
        return oddities.find_move(session, row), False
    if volume.host is None:
        raise errors.InvalidVolume('The volume has no backend.')
    is_first = row.initiator is None
    transitions.move_attachment(
        session,
        row.id,
        'export',
        actor,
        connector=dict(wanted.raw),
        attached_host=wanted.host,
        initiator=wanted.initiator,
        mountpoint=wanted.mountpoint or row.mountpoint,
        attach_mode=mode.decide_mode(row.attach_mode, wanted.mode, bool(volume.readonly)),
    )
    transitions.derive_volume(session, volume.id)
    return ExportOrder(volume.host, volume.id, row.id), is_first


def leave_target(session: Session, row: models.Attachment, actor: transitions.Actor) -> ExportOrder | None:
    """Write the intent to turn an attachment's initiator away, or remove the row if none came.

    :param row: the attachment with its volume and connector.
    :param actor: who asks.
    :returns: what to ask of whom, or None if the row is gone already.
    """
    volume = row.volume
    event, order = 'remove', None
    # What took no place comes back to none: its step could fail, and then it would be admitted beside others.
    if row.state in states.ON_TARGET and row.connector is not None and volume.host is not None:
        event, order = 'unexport', ExportOrder(volume.host, volume.id, row.id)
    transitions.move_attachment(session, row.id, event, actor)
    transitions.derive_volume(session, row.volume_id, left=row.id if order is None else None)
    return order
