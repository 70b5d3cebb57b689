# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from multiattach.osc import columns

STEP = {
    'at': '2026-11-20T10:00:00.123456',
    'from': 'exporting',
    'to': 'reserved',
    'event': 'export_failed',
    'by': 'volume:node@lvm',
    'seconds': 1.25,
    'stayed': 300.0,
    'request_id': 'req-1',
    'error': 'no room',
}
FIRST = {**STEP, 'from': None, 'seconds': None, 'stayed': None, 'request_id': None, 'error': None}
ROW = {
    'id': 'A',
    'state': 'attached',
    'server_id': 'S',
    'mode': 'rw',
    'owner': 'nobody',
    'host': 'one',
    'device': '/dev/vdb',
    'error': None,
}


def test_a_step_is_a_line_with_what_went_wrong_below() -> None:
    assert columns.Timeline([STEP]).human_readable().splitlines() == [
        '2026-11-20T10:00:00.123Z exporting -> reserved (export_failed) by volume:node@lvm, took 1.2 s, stayed 5 min',
        '    req-1',
        '    failed: no room',
    ]
    assert columns.Timeline([FIRST]).human_readable() == (
        '2026-11-20T10:00:00.123Z - -> reserved (export_failed) by volume:node@lvm'
    )


def test_attachments() -> None:
    waiting = {
        **ROW,
        'owner': 'host agent',
        'host': None,
        'device': None,
        'mode': None,
        'server_id': None,
        'error': 'x',
    }
    assert columns.Attachments([ROW, waiting]).human_readable().splitlines() == [
        'A attached server S on one as /dev/vdb rw',
        'A attached server - -, next: host agent',
        '    failed: x',
    ]


LEFT = {
    'gateway': 'l@f',
    'portal': '192.0.2.1:3260',
    'gateway_state': 'serving',
    'state': 'exported',
    'since': '2026-11-20T16:04:05.000000',
    'error': None,
}
RIGHT = LEFT | {'gateway': 'r@f', 'portal': None, 'gateway_state': 'lost', 'state': 'lost', 'error': 'x'}
LEFT_TEXT = 'l@f at 192.0.2.1:3260: exported since 2026-11-20T16:04:05Z'
RIGHT_TEXT = 'r@f at ?, which is lost: lost since 2026-11-20T16:04:05Z\n    failed: x'
NOTHING = {'acl': False, 'account': False, 'sessions': []}


@pytest.mark.parametrize(
    ('column', 'value', 'text'),
    [
        (columns.Counts, {'b': 2, 'a': 1}, 'a=1, b=2'),
        (columns.Lines, ['x', 'y'], 'x\ny'),
        (columns.Luns, [{'lun': 1, 'online': False, 'device': '/v'}], '1 offline /v'),
        (columns.Sessions, [{'initiator': 'i', 'address': ''}], 'i'),
        (columns.Recorded, [{'initiator': 'i', 'state': 's'}], 'i s'),
        (columns.Servers, [{'id': '1', 'name': 'n', 'power_state': 'p'}], '1 n p'),
        (columns.Differences, [{'kind': 'k', 'about': 'a', 'text': 't'}], 'k: a: t'),
        (columns.Differences, [], 'none'),
        (columns.Gateways, [LEFT, RIGHT], f'{LEFT_TEXT}\n{RIGHT_TEXT}'),
        (
            columns.GatewayCuts,
            {'r@f': {'portal': 'p', 'instances': 2}, 'l@f': {'cut': NOTHING | {'acl': True}, 'left': NOTHING}},
            'l@f: cut ACL, left nothing\nr@f: shut out of Ceph, 2 clients',
        ),
    ],
)
def test_people_read_text_and_programs_the_value(column: Any, value: Any, text: str) -> None:
    assert column(value).human_readable() == text
    assert column(value).machine_readable() == value


@pytest.mark.parametrize(
    'column',
    [
        columns.Counts,
        columns.Lines,
        columns.Timeline,
        columns.Attachments,
        columns.Luns,
        columns.Sessions,
        columns.Recorded,
        columns.Servers,
    ],
)
def test_nothing_is_empty(column: Any) -> None:
    assert column(None).human_readable() == ''


@pytest.mark.parametrize(
    ('seconds', 'text'), [(0.012, '12 ms'), (3.44, '3.4 s'), (119.0, '119.0 s'), (300.0, '5 min'), (27000.0, '7.5 h')]
)
def test_durations(seconds: float, text: str) -> None:
    assert columns.format_seconds(seconds) == text


def test_steps_that_are_no_longer_known_are_told_of() -> None:
    lines = columns.Timeline([FIRST, {**FIRST, 'dropped': 12}]).human_readable().splitlines()
    assert lines[1] == '    (12 steps are no longer known)'
    assert len(lines) == 3
