# SPDX-License-Identifier: Apache-2.0
"""Queries on which names of compute hosts there are."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models

A = models.Attachment
# Names that are read to find those that are near; of more the rest is not offered.
_MOST = 10_000


def is_known(session: Session, host: str, agent_binary: str) -> bool:
    """Tell whether anything but a fence has ever named a compute host; the last look reads every attachment.

    :returns: whether an agent, a server, or an attachment (also a deleted one that is not purged) is of it.
    """
    service, server = models.Service, models.Server
    of_host = sa.or_(A.attached_host == host, A.agent_host == host)
    for query in (
        sa.select(service.id).where(service.binary == agent_binary, service.host == host),
        sa.select(server.id).where(server.host == host, server.deleted_at.is_(None)),
        sa.select(A.id).where(A.deleted_at.is_(None), of_host),
        sa.select(A.id).where(of_host),
    ):
        if session.execute(query.limit(1)).first() is not None:
            return True
    return False


def list_names(session: Session, agent_binary: str) -> set[str]:
    """List the names of compute hosts that are in use, those of fenced hosts among them."""
    names: set[str] = set()
    service, server, mark = models.Service, models.Server, models.FencedHost
    for query in (
        sa.select(service.host).where(service.binary == agent_binary),
        sa.select(server.host).where(server.deleted_at.is_(None)).distinct(),
        sa.select(A.attached_host).where(A.deleted_at.is_(None), A.attached_host.is_not(None)).distinct(),
        sa.select(A.agent_host).where(A.deleted_at.is_(None), A.agent_host.is_not(None)).distinct(),
        sa.select(mark.host),
    ):
        names.update(session.scalars(query.limit(_MOST)))
    return names
