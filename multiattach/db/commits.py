# SPDX-License-Identifier: Apache-2.0
"""Whether a transaction was committed whose COMMIT got no answer: the rows tell.

A transaction leaves evidence in the rows that it writes: a new row has an id that nobody else made, a
moved attachment a line of its own in its timeline, a changed volume the moment of the change. Reading
it back costs nothing until a connection is lost in the middle of a COMMIT.
"""

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
import tenacity
from oslo_db import exception as db_exc
from oslo_log import log
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import models

LOG = log.getLogger(__name__)

# What writes: a session, or a connection where rows are no objects and nothing waits to be flushed.
Work = Session | sa.Connection
_KEY = 'multiattach_evidence'
_PATIENCE, _PAUSE = 20.0, 0.5  # s: a database that restarts is back by then
# In this order transactions lock rows.
_ORDER: tuple[Any, ...] = (models.VolumeType, models.Volume, models.Attachment)
Verdict = bool | None


@dataclasses.dataclass
class _VolumeChange:
    """When a volume was changed: before, if the transaction had read it, and by the transaction."""

    read: bool
    before: datetime.datetime | None
    after: datetime.datetime


@dataclasses.dataclass
class Evidence:
    """What a transaction wrote, and the rows that it holds locked until it ends.

    :param rows: new rows, by model and id.
    :param lines: lines added to timelines, by attachment.
    :param volumes: changes of volumes, by id.
    :param locked: rows that are locked, by model and id; new ones are none, as nobody can wait for them.
    """

    rows: list[tuple[Any, str]] = dataclasses.field(default_factory=list)
    lines: dict[str, str] = dataclasses.field(default_factory=dict)
    volumes: dict[str, _VolumeChange] = dataclasses.field(default_factory=dict)
    locked: set[tuple[Any, str]] = dataclasses.field(default_factory=set)


def find_dialect(work: Work) -> sa.Dialect:
    """Return the database's dialect."""
    return work.dialect if isinstance(work, sa.Connection) else work.get_bind().dialect


def is_mariadb(dialect: sa.Dialect) -> bool:
    """Tell MariaDB from other databases, and from MySQL: it writes a table of which the statement reads, too."""
    return bool(getattr(dialect, 'is_mariadb', False))


def watch(work: Work) -> Evidence:
    """Have the evidence of a transaction kept."""
    evidence = work.info[_KEY] = Evidence()
    return evidence


def note_row(work: Work, model: Any, ident: str) -> None:
    """Keep that a row was inserted without a flush.

    :param model: its mapped class.
    """
    if (evidence := work.info.get(_KEY)) is not None:
        evidence.rows.append((model, ident))


def note_rows(session: Session, _context: Any) -> None:
    if (evidence := session.info.get(_KEY)) is not None:
        evidence.rows += [(type(row), row.id) for row in session.new if hasattr(row, 'id')]


def note_lock(work: Work, model: Any, ident: str) -> None:
    """Keep that a row is locked until the transaction ends.

    :param model: its mapped class.
    """
    if (evidence := work.info.get(_KEY)) is not None:
        evidence.locked.add((model, ident))


def note_line(work: Work, attachment_id: str, line: str) -> None:
    """Keep that a line was added to an attachment's timeline.

    :param line: the line, with the moment in it.
    """
    if (evidence := work.info.get(_KEY)) is not None:
        evidence.lines[attachment_id] = line
        evidence.locked.add((models.Attachment, attachment_id))


def note_volume(work: Work, volume_id: str, moment: datetime.datetime) -> None:
    """Keep that a volume's ``updated_at`` was written.

    :param moment: what was written.
    """
    evidence: Evidence | None = work.info.get(_KEY)
    if evidence is None:
        return
    if volume_id in evidence.volumes:
        evidence.volumes[volume_id].after = moment
        return
    facts = find_read(work, models.Volume, volume_id)
    evidence.volumes[volume_id] = _VolumeChange('updated_at' in facts, facts.get('updated_at'), moment)
    evidence.locked.add((models.Volume, volume_id))


def find_read(work: Work, model: Any, ident: str) -> Mapping[str, Any]:
    """Return what a session has read of a row, by column; nothing is asked, and a connection keeps none."""
    if isinstance(work, sa.Connection):
        return {}
    row = work.identity_map.get(work.identity_key(model, ident))
    return row.__dict__ if row is not None else {}


def collect(work: Work) -> Evidence:
    """Return what is needed to tell later whether a transaction was committed; call it before the COMMIT.

    A session forgets its rows, so that a COMMIT that fails leaves them as they are.
    """
    evidence: Evidence = work.info.pop(_KEY)
    evidence.locked.difference_update(evidence.rows)
    if isinstance(work, Session):
        work.expunge_all()
    return evidence


def find_out(open_session: Callable[[], Session], evidence: Evidence) -> Verdict:
    """Tell whether a transaction was committed; None if nobody can tell.

    That is so if it left no evidence, was overwritten, or the database is away. The transaction may still be on its
    way through the server: the rows that it locked are locked here first, which waits for its end.
    """

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type((db_exc.DBConnectionError, db_exc.DBDeadlock)),
        stop=tenacity.stop_after_delay(_PATIENCE),
        wait=tenacity.wait_fixed(_PAUSE),
        reraise=True,
    )
    def judge() -> Verdict:
        with open_session() as session, session.begin():
            return _judge(session, evidence)

    try:
        return judge()
    except (db_exc.DBConnectionError, db_exc.DBDeadlock) as exc:
        LOG.warning('The database does not tell what was committed: %s', type(exc).__name__)
        return None


def _judge(session: Session, evidence: Evidence) -> Verdict:
    for model in _ORDER:
        idents = sorted(ident for kind, ident in evidence.locked if kind is model)
        if idents:
            session.execute(sa.select(model.id).where(model.id.in_(idents)).order_by(model.id).with_for_update()).all()
    verdicts = [*_judge_rows(session, evidence), *_judge_lines(session, evidence), *_judge_volumes(session, evidence)]
    if True in verdicts:
        return True
    return False if False in verdicts else None


def _judge_rows(session: Session, evidence: Evidence) -> list[Verdict]:
    """A row that is there was committed; one that is not may be to come if nothing was waited for."""
    absent = False if evidence.locked else None
    return [
        session.get(model, ident, options=[orm.load_only(model.id)]) is not None or absent
        for model, ident in evidence.rows
    ]


def _judge_lines(session: Session, evidence: Evidence) -> list[Verdict]:
    table = models.Attachment
    verdicts: list[Verdict] = []
    for ident, line in evidence.lines.items():
        found = session.scalars(sa.select(table.timeline).where(table.id == ident).with_for_update()).first()
        verdicts.append(line in (found or ''))
    return verdicts


def _judge_volumes(session: Session, evidence: Evidence) -> list[Verdict]:
    table = models.Volume
    verdicts: list[Verdict] = []
    for ident, change in evidence.volumes.items():
        found = session.scalars(sa.select(table.updated_at).where(table.id == ident).with_for_update()).first()
        if found == change.after:
            verdicts.append(True)
        else:  # anything else than before is the mark of another one who came on top, or first
            verdicts.append(False if change.read and found == change.before else None)
    return verdicts
