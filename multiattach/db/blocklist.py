# SPDX-License-Identifier: Apache-2.0
"""Queries on the entries that this service made in the blocklists of Ceph."""

import datetime
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import states
from multiattach.domain.blocklist import Cause, Entry, EntryState, Reason
from multiattach.domain.gateways import State

A, B, F, G = models.Attachment, models.BlocklistEntry, models.FencedHost, models.Gateway
_QUIET = {'synchronize_session': False}
# As long as a fence is in force; or its host agent has not let go of the device; or the host is fenced as a whole.
_FENCED = (
    sa.exists()
    .where(
        A.volume_id == B.volume_id,
        A.initiator == B.owner,
        sa.or_(
            sa.and_(A.deleted_at.is_(None), models.is_one_of(A.state, states.CUT_OFF)),
            sa.and_(A.fenced_at.is_not(None), A.agent_host.is_not(None), A.swept_at.is_(None)),
            sa.and_(
                A.fenced_at.is_not(None),
                sa.exists().where(F.host == sa.func.coalesce(A.agent_host, A.attached_host)).correlate(A),
            ),
        ),
    )
    .correlate(B)
)
# s that what a client sent before it died may be on its way.
LINGERING = 3600.0
_KEPT_OUT = (
    sa.exists()
    .where(
        G.name == B.owner,
        sa.or_(
            G.state != State.SERVING,
            G.state_at
            > sa.bindparam(
                'lingering',
                type_=G.state_at.type,
                callable_=lambda: models.now() - datetime.timedelta(seconds=LINGERING),
            ),
        ),
    )
    .correlate(B)
)
_NEEDED = sa.or_(sa.and_(B.cause == Cause.FENCE, _FENCED), sa.and_(B.cause == Cause.GATEWAY, _KEPT_OUT))
_ENTRIES = sa.select(B, _NEEDED.label('needed')).order_by(B.until, B.address)


def put(session: Session, backend: str, fsid: str, reasons: Mapping[str, Reason]) -> None:
    """Write the intent to add entries; what is known of one that is there stays known.

    :param reasons: by address.
    :raises RetryRequest: another worker was first.
    """
    for address, reason in sorted(reasons.items()):
        values = {
            'backend': backend,
            'cause': reason.cause,
            'owner': reason.owner,
            'volume_id': reason.volume_id,
            'state': EntryState.ADDING,
            'state_at': models.now(),
        }
        done = session.execute(sa.update(B).where(*_key(fsid, address)).values(**values).execution_options(**_QUIET))
        if not done.rowcount:  # type: ignore[attr-defined]
            session.add(B(fsid=fsid, address=address, **values))
    try:
        session.flush()
    except db_exc.DBDuplicateEntry as exc:
        raise db_exc.RetryRequest(exc) from exc


def confirm(session: Session, fsid: str, found: Mapping[str, datetime.datetime]) -> None:
    """Write until when Ceph has entries; of one that is not recorded nothing is written.

    :param found: by address, in UTC without zone.
    """
    for address, until in sorted(found.items()):
        session.execute(
            sa.update(B)
            .where(*_key(fsid, address))
            .values(state=EntryState.HELD, state_at=models.now(), until=until)
            .execution_options(**_QUIET)
        )


def begin_removal(session: Session, fsid: str, address: str) -> bool:
    """Write the intent to remove an entry; return whether it is not needed, as it was read."""
    done = session.execute(
        sa.update(B)
        .where(*_key(fsid, address), sa.not_(_NEEDED))
        .values(state=EntryState.REMOVING, state_at=models.now())
        .execution_options(**_QUIET)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def forget(session: Session, fsid: str, address: str) -> None:
    """Forget an entry, unless another one is about to make it."""
    session.execute(sa.delete(B).where(*_key(fsid, address), B.state != EntryState.ADDING).execution_options(**_QUIET))


def list_entries(session: Session, backend: str) -> list[Entry]:
    """List what a backend's workers made, what ends first first."""
    return _read(session, B.backend == backend)


def list_of_volumes(session: Session, volume_ids: Collection[str]) -> list[Entry]:
    return _read(session, B.volume_id.in_(sorted(volume_ids)))


def list_instances(session: Session, cause: Cause, owner: str) -> set[str]:
    """List the instances of one owner."""
    return set(session.scalars(sa.select(B.address).where(B.cause == cause, B.owner == owner)))


def list_known(session: Session, fsid: str, addresses: Collection[str]) -> set[str]:
    """Return those instances of a cluster of which there is an entry, whichever backend made it."""
    return set(session.scalars(sa.select(B.address).where(B.fsid == fsid, B.address.in_(sorted(addresses)))))


def _read(session: Session, where: sa.ColumnElement[bool]) -> list[Entry]:
    return [
        Entry(
            row.fsid,
            row.address,
            Reason(Cause(row.cause), row.owner, row.volume_id),
            row.state,
            row.state_at,
            row.until,
            bool(needed),
        )
        for row, needed in session.execute(_ENTRIES.where(where))
    ]


def _key(fsid: str, address: str) -> tuple[sa.ColumnElement[bool], ...]:
    return B.fsid == fsid, B.address == address
