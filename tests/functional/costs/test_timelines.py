# SPDX-License-Identifier: Apache-2.0
"""A timeline that grows with each refusal keeps its ends, says what is missing, and stays small."""

import json
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import models, timelines, transitions
from multiattach.domain import timeline

ACTOR = transitions.Actor('volume:host', f'req-{uuid.uuid4()}')
# Each sign of the second takes twelve in JSON.
ERRORS = ('no room', '\U0001f4a5' * 1000, 'x' * 1000)


def add(deployed):
    """Make an attachment that no worker looks at, on a volume without a backend."""
    kind = deployed.make_type()
    with deployed.db.writer() as session:
        volume = models.Volume(id=str(uuid.uuid4()), project_id='p', size=1, volume_type_id=kind, status='available')
        session.add(volume)
        session.flush()
        row = models.Attachment(id=str(uuid.uuid4()), volume_id=volume.id)
        transitions.add_attachment(session, row, ACTOR)
        return row.id


def move(deployed, ident, event, **more):
    with deployed.db.writer() as session:
        transitions.move_attachment(session, ident, event, ACTOR, **more)


def read(deployed, ident):
    with deployed.db.reader() as session:
        table = models.Attachment
        text = session.scalars(sa.select(table.timeline).where(table.id == ident)).one()
    return text, [json.loads(line) for line in text.splitlines()]


def check(entries, moments):
    """Compare what is kept with what was written: both ends are there, and the number of the others."""
    [place] = [number for number, entry in enumerate(entries) if 'dropped' in entry]
    first, last = entries[:place], entries[place + 1 :]
    assert len(first) > 5
    assert len(last) > 5
    assert [entry['at'] for entry in first] == moments[: len(first)]
    assert [entry['at'] for entry in last] == moments[-len(last) :]
    assert len(first) + int(entries[place]['dropped']) + len(last) == len(moments)


def test_refusals_without_end(deployed):
    ident = add(deployed)
    moments = [read(deployed, ident)[1][-1]['at']]
    shortened = 0
    before = 0
    for number in range(150):
        for event, more in (('export', {}), ('export_failed', {'error': ERRORS[number % 3]})):
            move(deployed, ident, event, **more)
            text, entries = read(deployed, ident)
            moments.append(entries[-1]['at'])
            assert len(text) < timelines.LIMIT + 13_000
            assert entries[-1]['event'] == event
            if len(text) < before:
                shortened += 1
                check(entries, moments)
            before = len(text)
    assert shortened > 5
    explained = deployed.engine.explanations.explain_attachment(deployed.ctx, ident)
    [step] = [step for step in explained.steps if step.dropped]
    assert step.dropped + len(explained.steps) == len(moments)
    assert step.source is None
    move(deployed, ident, 'remove')


@pytest.mark.parametrize('size', [1, 8 * 2**20])
def test_what_is_long_already_is_cut_by_the_next_move(deployed, size):
    ident = add(deployed)
    entry = {'at': '2026-01-01T00:00:00', 'event': 'export', 'state': 'exporting', 'by': 'a'}
    line = json.dumps(entry) + '\n'
    number = max(size, timelines.LIMIT) // len(line) + 1
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.Attachment).where(models.Attachment.id == ident).values(timeline=line * number)
        )
    move(deployed, ident, 'export')
    text, entries = read(deployed, ident)
    assert len(text) < timelines.LIMIT
    assert sum(int(entry.get('dropped', 1)) for entry in entries) == number + 1
    assert timeline.parse(text, None)[-1].event == 'export'
