# SPDX-License-Identifier: Apache-2.0
"""Sums over the volumes of a backend."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models

_V = models.Volume


def sum_by_project(session: Session, host: str) -> list[tuple[str, int, int]]:
    """List project id, number of volumes and sum of their sizes in GiB on a backend, in order of projects."""
    rows = session.execute(
        sa.select(_V.project_id, sa.func.count(), sa.func.sum(_V.size))
        .where(_V.deleted_at.is_(None), _V.host == host)
        .group_by(_V.project_id)
        .order_by(_V.project_id)
    )
    return [(str(project), int(number), int(size)) for project, number, size in rows]
