# SPDX-License-Identifier: Apache-2.0
"""Whether a host agent has anything to do, in one statement: a region has a thousand that ask every few seconds."""

import datetime
from typing import NamedTuple

import sqlalchemy as sa

from multiattach.db import models
from multiattach.db.commits import Work
from multiattach.domain import states

_A, _V, _F = (models.table_of(model) for model in (models.Attachment, models.Volume, models.FencedHost))
_HOST: sa.BindParameter[str] = sa.bindparam('host', type_=sa.String)
_LIVE = (_A.c.agent_host == _HOST, _A.c.deleted_at.is_(None))


class Agenda(NamedTuple):
    """What a host's agent is to look after.

    :param fenced_at: since when the host is fenced (UTC), None if it is not.
    :param is_unswept: something was cut off, and the host may still have it.
    :param is_open: a step is begun and not ended.
    :param is_grown: a volume has grown, and its server does not know.
    """

    fenced_at: datetime.datetime | None
    reason: str | None
    is_unswept: bool
    is_open: bool
    is_grown: bool


_READ = sa.select(
    sa.select(_F.c.fenced_at).where(_F.c.host == _HOST).scalar_subquery(),
    sa.select(_F.c.reason).where(_F.c.host == _HOST).scalar_subquery(),
    sa.exists().where(_A.c.agent_host == _HOST, _A.c.fenced_at.is_not(None), _A.c.swept_at.is_(None)),
    sa.exists().where(*_LIVE, models.is_one_of(_A.c.state, states.AGENT_OPEN)),
    sa.exists().where(
        *_LIVE,
        models.is_one_of(_A.c.state, (states.Attachment.ATTACHED,)),
        _V.c.id == _A.c.volume_id,
        _A.c.seen_size < _V.c.size,
    ),
)


def read(work: Work, host: str) -> Agenda:
    row = work.execute(_READ, {'host': host}).one()
    return Agenda(*row[:2], *map(bool, row[2:]))
