# SPDX-License-Identifier: Apache-2.0
"""What there really is after a history: the rows, the target, the files, the quotas."""

import json
import operator
from collections.abc import Callable, Iterable
from typing import Any

from multiattach.domain import states, target_drift
from multiattach.drivers.targets.base import account_name
from tests.histories.field import Field, Ground
from tests.testbed.polling import look_until

A = states.Attachment
_IN_FLIGHT = (A.EXPORTING, A.UNEXPORTING, A.FENCING)
_MOVING = tuple(states.WORKER_STATUSES)
QUIET = 45.0  # s within which everything in flight ends, whatever died


def wait_quiet(field: Field, volumes: Iterable[str], seconds: float = QUIET) -> list[str]:
    """Wait until no step of some volumes is in flight.

    :returns: what still was when the time was over.
    """
    return look_until(lambda: list_in_flight(field, volumes), operator.not_, seconds, 0.03)


def list_in_flight(field: Field, volumes: Iterable[str]) -> list[str]:
    """List the steps that somebody is to take."""
    idents = list(volumes)
    return [
        f'attachment {ident} is {state}'
        for ident, volume, state in field.query(
            'SELECT id, volume_id, state FROM attachments WHERE deleted_at IS NULL AND state IN :states',
            states=_IN_FLIGHT,
        )
        if volume in idents
    ] + [
        f'volume {ident} is {status}'
        for ident, status in field.query(
            'SELECT id, status FROM volumes WHERE deleted_at IS NULL AND status IN :states', states=_MOVING
        )
        if ident in idents
    ]


def settle(look: Callable[[], list[str]], seconds: float) -> list[str]:
    """Look until nothing is wrong; what is wrong at the end is wrong.

    :param look: returns what is wrong.
    :param seconds: how long a worker may take to put it right.
    """
    return look_until(look, operator.not_, seconds, 0.1)


def check(field: Field, volumes: Iterable[str], seconds: float = 15.0) -> list[str]:
    """Compare all accounts of some volumes.

    :param field: the deployment.
    :param volumes: UUIDs.
    :param seconds: how long workers have to put right what a fault broke.
    :returns: what does not agree.
    """
    idents = sorted(volumes)
    return (
        settle(lambda: compare(field, idents), seconds)
        + [wrong for ident in idents for wrong in check_rows(field, ident)]
        + check_quotas(field)
    )


def compare(field: Field, idents: list[str]) -> list[str]:
    """Compare rows with the target and with the files."""
    ground = field.look()
    wrong = []
    for ident in idents:
        wrong += _compare_volume(field, ground, ident)
    return wrong


def _compare_volume(field: Field, ground: Ground, ident: str) -> list[str]:
    alive = bool(field.query('SELECT id FROM volumes WHERE id = :ident AND deleted_at IS NULL', ident=ident))
    rows = field.query(
        'SELECT state, initiator FROM attachments WHERE volume_id = :ident AND deleted_at IS NULL', ident=ident
    )
    recorded = [
        target_drift.Recorded(state, initiator, account_name(ident, initiator))
        for state, initiator in rows
        if initiator and state in states.ON_TARGET
    ]
    target = ground.targets.get(ident)
    shown = (
        None
        if target is None
        else target_drift.Shown(
            bool(target.luns.get(1)) and target.luns[1].online,
            target.initiators,
            target.accounts,
            ground.sessions[ident],
        )
    )
    wrong = [
        f'volume {ident}: {one.kind} {one.about}: {one.text}'
        for one in target_drift.compare(ident, recorded if alive else None, shown)
    ]
    # Stricter than drift: nothing is in flight, so the target is exactly what rows wish.
    wished = sorted({one.initiator for one in recorded if one.state in states.ADMITTED})
    found = sorted(target.initiators) if target else []
    if found != wished:
        wrong.append(f'volume {ident}: the target admits {found}, rows {wished}')
    bound = sorted(target.accounts) if target else []
    if bound != sorted(account_name(ident, one) for one in wished):
        wrong.append(f'volume {ident}: accounts {bound}, rows {wished}')
    lost = {account_name(ident, f'iqn.1994-05.com.redhat:host{number}') for number in range(9)}
    if left := sorted((set(ground.accounts) & lost) - set(bound)):
        wrong.append(f'volume {ident}: accounts {left} are bound to no target')
    if alive != (field.volumes / f'volume-{ident}').exists():
        wrong.append(f'volume {ident}: alive {alive}, and its file there {not alive}')
    own = {f'volume-{ident}', *([f'reservations-{ident}'] if target else [])}  # of one of the kernel's
    if left := [name.name for name in field.volumes.glob(f'*{ident}*') if name.name not in own]:
        wrong.append(f'volume {ident}: files {left} are left')
    return wrong


def check_rows(field: Field, ident: str) -> list[str]:
    """Check that rows say what the tables of states say: status, and each line of each timeline."""
    wrong = []
    rows = field.query(
        'SELECT id, state, timeline, deleted_at, connection_info, initiator FROM attachments WHERE volume_id = :ident',
        ident=ident,
    )
    counts: dict[str, int] = {}
    for name, state, timeline, deleted, info, initiator in rows:
        if deleted is None:
            counts[state] = counts.get(state, 0) + 1
            if state in states.ADMITTED and initiator and not info:
                wrong.append(f'attachment {name}: {state} without a connection_info')
        wrong += [f'attachment {name}: {text}' for text in check_timeline(timeline, state)]
    for status, claim in field.query(
        'SELECT status, claim FROM volumes WHERE id = :ident AND deleted_at IS NULL', ident=ident
    ):
        derived = states.derive_status(counts, claim)
        if status in states.DERIVED_STATUSES and status != derived:
            wrong.append(f'volume {ident}: status {status}, and its attachments give {derived}')
    return wrong


def read_timeline(timeline: str) -> tuple[str, ...]:
    """List the states that a timeline went through, as the model counts them."""
    entries = [json.loads(line) for line in timeline.splitlines()]
    return tuple(
        entry['state']
        for entry in entries
        if entry['event'] == 'reserve'
        or (entry['event'] in states.ATTACHMENT_EVENTS and entry['event'] != 'fence_failed')
    )


def read_maker(timeline: str) -> str | None:
    """Return the id of the request that reserved an attachment."""
    first = json.loads(timeline.partition('\n')[0])
    return first.get('request_id')


def check_timeline(timeline: str, last: str) -> list[str]:
    """Walk a timeline along the table of states."""
    wrong, state = [], ''
    for line in timeline.splitlines():
        entry = json.loads(line)
        event, target = entry['event'], entry['state']
        row = states.ATTACHMENT_EVENTS.get(event)
        if event == 'reserve' and state:
            wrong.append('reserved twice')
        if row is not None and (state not in row.sources or row.target != target):
            wrong.append(f'{event} led from {state} to {target}')
        state = target
    if state != last:
        wrong.append(f'the timeline ends in {state}, the row is {last}')
    return wrong


def check_quotas(field: Field) -> list[str]:
    """Compare what the API says is used with a count of rows."""
    code, reply = field.ask('GET', f'/v3/os-quota-sets/{field.project}?usage=true')
    if code != 200:
        return [f'the quota cannot be read: {code} {reply}']
    taken = tuple(set(states.Attachment) - states.PLACELESS)
    counted: dict[str, Any] = {
        'volumes': field.query('SELECT count(*) FROM volumes WHERE deleted_at IS NULL')[0][0],
        'gigabytes': int(
            field.query('SELECT coalesce(sum(coalesce(new_size, size)), 0) FROM volumes WHERE deleted_at IS NULL')[0][0]
        ),
        'attachments': len(
            {
                (volume, server or ident)
                for volume, server, ident in field.query(
                    'SELECT volume_id, instance_uuid, id FROM attachments WHERE deleted_at IS NULL '
                    'AND state IN :states',
                    states=taken,
                )
            }
        ),
    }
    told = {key: reply['quota_set'][key]['in_use'] for key in counted}
    return [] if told == counted else [f'quotas: told {told}, counted {counted}']
