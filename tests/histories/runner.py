# SPDX-License-Identifier: Apache-2.0
"""One history from its seed to its verdict."""

import dataclasses
import functools
import itertools
import operator
import random
import time
from collections.abc import Sequence
from typing import Any

from multiattach.domain import states
from tests.histories import faults, generator, truth
from tests.histories.calls import Call, Event, Kind, Reply
from tests.histories.checker import History, Verdict, check
from tests.histories.field import TYPES, Field
from tests.histories.generator import Crowd, Mix
from tests.histories.model import Model, State
from tests.testbed.polling import look_until

_KINDS = (('plain', 'shared'), ('shared', 'capped'), ('plain', 'capped'), ('shared',), ('plain',))
_LENGTH = 0.8  # s that the calls of a history take, about
_TIDY = 60.0  # s within which everything can be taken away


@dataclasses.dataclass
class Outcome:
    """What became of a history.

    :param seed: its seed.
    :param events: what clients saw.
    :param blows: faults that happened.
    :param failures: what is wrong; empty if nothing is.
    :param broken: volumes whose history is not linearizable, with the search's verdict.
    :param gave_up: searches that ended before they knew.
    :param nodes: configurations that the checker looked at.
    :param seconds: how long it all took, and its parts.
    """

    seed: str
    events: list[Event] = dataclasses.field(default_factory=list)
    blows: Sequence[faults.Blow] = ()
    failures: list[str] = dataclasses.field(default_factory=list)
    broken: list[tuple[Model, History, Verdict]] = dataclasses.field(default_factory=list)
    gave_up: int = 0
    nodes: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)


def run_history(
    field: Field,
    crowd: Crowd,
    seed: str,
    *,
    names: Sequence[str] = (),
    share: float = 0.0,
    mix: Mix | None = None,
    refusals: bool = False,
) -> Outcome:
    """Run one history, judge it, look at what there really is, and take everything away again.

    :param field: the deployment.
    :param crowd: client processes.
    :param seed: what gives plans and faults.
    :param names: faults to choose from.
    :param share: how many histories have a fault.
    :param mix: what clients do.
    :param refusals: whether a target may refuse, as one that has been killed does.
    :returns: the outcome.
    """
    mix = mix or Mix()
    outcome = Outcome(seed)
    chance = random.Random(seed)
    kinds = chance.choice(_KINDS)
    marks = [time.monotonic()]
    volumes = field.make_volumes(kinds)
    marks.append(time.monotonic())
    plans = {number: generator.plan(seed, number, volumes, mix) for number in range(mix.clients)}
    outcome.blows = faults.schedule(seed, names, share, _LENGTH)
    storm = faults.Storm(field, seed, outcome.blows)
    storm.start()
    outcome.events, oddities = crowd.run(field.ports, plans)
    marks.append(time.monotonic())
    storm.wait()
    field.put_right()
    outcome.failures += [f'an unexpected answer: {odd}' for odd in oddities]
    everything = volumes + storm.volumes
    outcome.failures += [f'in flight for ever: {one}' for one in truth.wait_quiet(field, everything)]
    outcome.failures += storm.judge()
    outcome.failures += truth.check(field, everything)
    marks.append(time.monotonic())
    model = Model(TYPES, snapshot=field.snapshot, refusals=refusals)
    for volume, kind in zip(volumes, kinds, strict=True):
        _judge(outcome, model, record(field, outcome.events, volume, kind))
    marks.append(time.monotonic())
    crowd.hang_up()
    outcome.failures += tidy(field, everything)
    marks.append(time.monotonic())
    outcome.seconds = dict(
        zip(
            ('make', 'calls', 'truth', 'check', 'tidy'),
            (after - before for before, after in itertools.pairwise(marks)),
            strict=True,
        )
    )
    return outcome


def _judge(outcome: Outcome, model: Model, history: History) -> None:
    verdict = check(model, history)
    outcome.nodes += verdict.nodes
    if verdict.ok:
        return
    outcome.gave_up += verdict.gave_up
    outcome.broken.append((model, history, verdict))
    outcome.failures.append(
        f'volume {history.events[0].call.volume}: '
        + ('the checker gave up' if verdict.gave_up else 'the history is not linearizable')
    )


def record(field: Field, events: Sequence[Event], volume: str, kind: str) -> History:
    """Collect what clients saw of one volume, and what the rows are in the end.

    :param field: the deployment; nothing of the volume is in flight.
    :param events: what clients saw.
    :param volume: UUID.
    :param kind: name of its type at the beginning.
    """
    mine = [event for event in events if event.call.volume == volume]
    told = {event.reply.facts.get('id') for event in mine if event.reply and event.call.kind is Kind.CREATE}
    makers = {
        event.request: index
        for index, event in enumerate(mine)
        if event.call.kind is Kind.CREATE and event.request and event.reply
    }
    strays: dict[str | None, list[str]] = {}
    timelines = {}
    for ident, server, timeline in field.query(
        'SELECT id, instance_uuid, timeline FROM attachments WHERE volume_id = :ident ORDER BY created_at', ident=volume
    ):
        timelines[ident] = truth.read_timeline(timeline)
        maker = makers.get(truth.read_maker(timeline) or '')
        if maker is not None:
            mine[maker] = dataclasses.replace(mine[maker], made=ident)
        elif ident not in told:
            strays.setdefault(server, []).append(ident)
    now = time.monotonic()
    mine.append(Event(-1, 0, Call(Kind.OBSERVE, volume), now, now, observe(field, volume)))
    return History(
        State(states.Volume.AVAILABLE, kind, 1),
        mine,
        {server: tuple(idents) for server, idents in strays.items()},
        timelines,
    )


def observe(field: Field, volume: str) -> Reply:
    """Read how a volume stands, as the model says it."""
    held = dict(
        field.query('SELECT id, state FROM attachments WHERE volume_id = :ident AND deleted_at IS NULL', ident=volume)
    )
    facts: dict[str, Any] = {'held': held}
    (row,) = field.query(
        'SELECT v.status, t.name, v.size FROM volumes v JOIN volume_types t '
        'ON t.id = v.volume_type_id WHERE v.id = :ident',
        ident=volume,
    )
    facts |= dict(zip(('status', 'type', 'size'), row, strict=True))
    return Reply(200, facts)


def tidy(field: Field, volumes: Sequence[str]) -> list[str]:
    """Take everything away as a person would: whatever state is left, there is a way out.

    :returns: what could not be.
    """
    failures = []
    for volume in volumes:
        left = look_until(functools.partial(_take_away, field, volume), operator.not_, _TIDY)
        failures += [f'volume {volume} cannot be taken away: {one}' for one in left]
    if not failures:
        failures += truth.check(field, volumes)
    return failures


def _take_away(field: Field, volume: str) -> list[str]:
    left = []
    _, reply = field.ask('GET', f'/v3/attachments?volume_id={volume}')
    for one in reply['attachments']:
        code, said = field.ask('DELETE', f'/v3/attachments/{one["id"]}')
        if code not in (200, 404):
            left.append(f'attachment {one["id"]} ({one["status"]}): {code} {said}')
    if left:
        return left
    status = field.show(volume)
    if status is None:
        return []
    if status != states.Volume.DELETING:
        action = status == states.Volume.ERROR_DELETING
        code, said = (
            field.ask('POST', f'/v3/volumes/{volume}/action', {'os-force_delete': {}})
            if action
            else field.ask('DELETE', f'/v3/volumes/{volume}')
        )
        if code not in (202, 404):
            return [f'{status}: {code} {said}']
    return [f'it is {status}']
