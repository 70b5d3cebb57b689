# SPDX-License-Identifier: Apache-2.0
"""Queries on gateways and on what is exported at each."""

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import states
from multiattach.domain.blocklist import Cause
from multiattach.domain.gateways import Export, Gateway, State, VolumeExport
from multiattach.domain.services import VOLUME_BINARY

A, B, G, X, S = models.Attachment, models.BlocklistEntry, models.Gateway, models.GatewayExport, models.Service
_QUIET = {'synchronize_session': False}
_LIVE = A.deleted_at.is_(None)
_GATEWAYS = (
    sa.select(G.name, G.portal, G.cephx_user, G.state, G.state_at, G.entries, S.heartbeat_at)
    .outerjoin(S, sa.and_(S.host == G.name, S.binary == VOLUME_BINARY))
    .where(G.backend == sa.bindparam('backend'))
    .order_by(G.name)
)
_PORTALS = (
    sa.select(X.volume_id, G.portal)
    .join(G, G.name == X.gateway)
    .where(X.state == Export.EXPORTED, G.state == State.SERVING)
)


# -- gateways --------------------------------------------------------------------------------------


def list_gateways(session: Session, backend: str) -> list[Gateway]:
    """List the gateways of a backend, in order of their names."""
    return [
        Gateway(name, portal, user, state, at, entries or {}, beat)
        for name, portal, user, state, at, entries, beat in session.execute(_GATEWAYS, {'backend': backend})
    ]


def register(session: Session, backend: str, name: str, portal: str, user: str) -> None:
    """Write down a gateway; one that is known keeps its state.

    :raises RetryRequest: another process of the same name was first.
    """
    values = {'backend': backend, 'portal': portal, 'cephx_user': user}
    done = session.execute(sa.update(G).where(G.name == name).values(**values).execution_options(**_QUIET))
    if done.rowcount:  # type: ignore[attr-defined]
        return
    session.add(G(name=name, state=State.SERVING, **values))
    try:
        session.flush()
    except db_exc.DBDuplicateEntry as exc:
        raise db_exc.RetryRequest(exc) from exc


def get_state(session: Session, name: str) -> str | None:
    """Return the state of a gateway, None if there is no such gateway."""
    return session.scalar(sa.select(G.state).where(G.name == name))


def remove(session: Session, name: str) -> None:
    """Forget a gateway that is never to come back; absent is fine. What is blocklisted of it stays so until it ends."""
    drop_all_exports(session, name)
    session.execute(sa.delete(B).where(B.cause == Cause.GATEWAY, B.owner == name).execution_options(**_QUIET))
    session.execute(sa.delete(G).where(G.name == name).execution_options(**_QUIET))


def move(session: Session, name: str, sources: Collection[str], state: str, entries: Mapping[str, str] | None) -> bool:
    """Give a gateway another state; return whether it had one of the *sources*."""
    done = session.execute(
        sa.update(G)
        .where(G.name == name, G.state.in_(sorted(sources)))
        .values(state=state, state_at=models.now(), entries=dict(entries) if entries else None)
        .execution_options(**_QUIET)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


# -- exports ---------------------------------------------------------------------------------------


def list_exports(session: Session, volume_id: str) -> dict[str, str]:
    """Return the state of a volume's export by gateway, also of those that are lost."""
    return {row[0]: row[1] for row in session.execute(sa.select(X.gateway, X.state).where(X.volume_id == volume_id))}


def explain_exports(session: Session, volume_id: str) -> list[VolumeExport]:
    """List what is known of a volume at each gateway, in order of their names."""
    return [
        VolumeExport(*row)
        for row in session.execute(
            sa.select(X.gateway, G.portal, G.state, X.state, X.state_at, X.error)
            .outerjoin(G, G.name == X.gateway)
            .where(X.volume_id == volume_id)
            .order_by(X.gateway)
        )
    ]


def put_exports(session: Session, volume_id: str, gateways: Mapping[str, tuple[str, str | None]]) -> None:
    """Write the state and the error of a volume's export at some gateways; the caller holds the volume's lock."""
    moment = models.now()
    for gateway, (state, error) in sorted(gateways.items()):
        values: dict[str, Any] = {'state': state, 'error': error, 'state_at': moment}
        done = session.execute(
            sa.update(X)
            .where(X.volume_id == volume_id, X.gateway == gateway)
            .values(**values)
            .execution_options(**_QUIET)
        )
        if not done.rowcount:  # type: ignore[attr-defined]
            session.add(X(volume_id=volume_id, gateway=gateway, **values))
    session.flush()


def drop_exports(session: Session, volume_id: str, gateways: Iterable[str]) -> None:
    session.execute(
        sa.delete(X).where(X.volume_id == volume_id, X.gateway.in_(sorted(gateways))).execution_options(**_QUIET)
    )


def list_volumes(session: Session, gateway: str) -> list[str]:
    """List the volumes that a gateway exports, or may."""
    return list(session.scalars(sa.select(X.volume_id).where(X.gateway == gateway).order_by(X.volume_id)))


def lose_exports(session: Session, gateway: str) -> list[str]:
    """Write that all exports of a gateway are lost; return their volumes."""
    volumes = list_volumes(session, gateway)
    session.execute(
        sa.update(X)
        .where(X.gateway == gateway)
        .values(state=Export.LOST, state_at=models.now(), error=None)
        .execution_options(**_QUIET)
    )
    return volumes


def drop_all_exports(session: Session, gateway: str) -> None:
    session.execute(sa.delete(X).where(X.gateway == gateway).execution_options(**_QUIET))


def list_in_state(session: Session, gateway: str, wanted: Collection[str], before: datetime.datetime) -> list[str]:
    """List the volumes whose export at a gateway has one of some states since before a moment."""
    return list(
        session.scalars(
            sa.select(X.volume_id)
            .where(X.gateway == gateway, X.state.in_(sorted(wanted)), X.state_at < before)
            .order_by(X.volume_id)
        )
    )


def list_portals(session: Session, volume_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return, by volume, the portals of the gateways at which it is exported now."""
    found: dict[str, list[str]] = {}
    for volume_id, portal in session.execute(_PORTALS.where(X.volume_id.in_(list(volume_ids)))):
        found.setdefault(volume_id, []).append(portal)
    return found


# -- attachments -----------------------------------------------------------------------------------


def set_secret(session: Session, volume_id: str, initiator: str, told: Mapping[str, str]) -> None:
    """Write what lets an initiator in whose export has begun, so that each gateway finds the same."""
    session.execute(
        sa.update(A)
        .where(A.volume_id == volume_id, A.initiator == initiator, _LIVE, A.state == states.Attachment.EXPORTING)
        .values(connection_info=dict(told))
        .execution_options(**_QUIET)
    )


def list_wanted(session: Session, volume_id: str) -> dict[str, dict[str, Any]]:
    """Return connection_info by initiator of all that is to be admitted to a volume, the oldest attachment's."""
    found: dict[str, dict[str, Any]] = {}
    for initiator, info in session.execute(
        sa.select(A.initiator, A.connection_info)
        .where(
            A.volume_id == volume_id,
            _LIVE,
            A.initiator.is_not(None),
            sa.or_(A.state.in_(sorted(states.ADMITTED)), A.state == states.Attachment.EXPORTING),
        )
        .order_by(A.created_at, A.id)
    ):
        if info and 'auth_password' in info:
            found.setdefault(initiator, info)
    return found


def list_told(session: Session, volume_id: str) -> dict[str, dict[str, Any]]:
    """Return connection_info by attachment of all that may use a volume, locked."""
    return {
        row[0]: row[1]
        for row in session.execute(
            sa.select(A.id, A.connection_info)
            .where(A.volume_id == volume_id, _LIVE, A.state.in_(sorted(states.ADMITTED)))
            .order_by(A.id)
            .with_for_update()
        )
        if row[1]
    }


# -- hosts -----------------------------------------------------------------------------------------


def list_by_backend(session: Session) -> dict[str, dict[str, str]]:
    """Return the state of all gateways by backend and portal."""
    found: dict[str, dict[str, str]] = {}
    for backend, portal, state in session.execute(sa.select(G.backend, G.portal, G.state).order_by(G.name)):
        found.setdefault(backend, {})[portal] = state
    return found
