# SPDX-License-Identifier: Apache-2.0
import datetime

import pytest

from multiattach.domain import timeline

TEXT = (
    '{"at":"2026-11-20T10:00:00","event":"reserve","state":"reserved","by":"api","request_id":"req-1"}\n'
    '{"at":"2026-11-20T10:00:00.500000","event":"export","state":"exporting","by":"api"}\n'
    '{"at":"2026-11-20T10:00:02","event":"export_failed","state":"reserved","by":"volume:node@lvm",'
    '"seconds":1.4,"error":"no room"}\n'
)
NOW = datetime.datetime(2026, 11, 20, 10, 1)


def test_each_step_tells_from_where_by_whom_how_long_and_why_not() -> None:
    first, second, third = timeline.parse(TEXT, NOW)
    assert (first.source, first.target, first.event, first.actor, first.request_id, first.stayed) == (
        None,
        'reserved',
        'reserve',
        'api',
        'req-1',
        0.5,
    )
    assert (second.source, second.target, second.stayed, second.seconds) == ('reserved', 'exporting', 1.5, None)
    assert (third.source, third.target, third.actor, third.seconds, third.error, third.stayed) == (
        'exporting',
        'reserved',
        'volume:node@lvm',
        1.4,
        'no room',
        58.0,
    )


def test_the_last_state_of_what_is_gone_lasts_no_longer() -> None:
    assert timeline.parse(TEXT, None)[-1].stayed is None


def test_a_clock_that_went_back_gives_no_negative_duration() -> None:
    assert timeline.parse(TEXT, datetime.datetime(2026, 11, 20, 9))[-1].stayed == 0


def test_no_timeline_has_no_steps() -> None:
    assert timeline.parse('', NOW) == []


@pytest.mark.parametrize(
    ('actor', 'role'),
    [
        ('api', 'api'),
        ('volume:node@lvm', 'volume worker'),
        ('host:compute-1', 'host agent'),
        ('operator:me', 'operator'),
    ],
)
def test_roles(actor: str, role: str) -> None:
    assert timeline.name_role(actor) == role


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('no room', 'no room'),
        ('login to iqn.2010-10.org.openstack:volume-1 failed', 'login to (hidden) failed'),
        ('192.0.2.7:3260 does not answer', '(hidden) does not answer'),
        ('[2001:db8::1]:3260 does not answer', '(hidden) does not answer'),
        ('cannot open /var/lib/x/volume-1: EIO', 'cannot open (hidden) EIO'),
        ('node-1 and node-10 are other hosts than node', 'node-1 and node-10 are other hosts than (hidden)'),
        ('node@lvm is full', '(hidden) is full'),
        ('read/write error', 'read/write error'),
    ],
)
def test_what_users_are_not_shown(text: str, shown: str) -> None:
    assert timeline.hide_internals(text, ('node@lvm', 'node', None)) == shown


def test_steps_that_are_no_longer_known_are_counted() -> None:
    lines = TEXT.splitlines(keepends=True)
    text = f'{lines[0]}{timeline.GAP_START}{"12":0>{timeline.GAP_DIGITS}}{timeline.GAP_END}{lines[2]}'
    first, last = timeline.parse(text, NOW)
    assert (first.dropped, first.stayed) == (0, None)
    assert (last.dropped, last.source, last.target, last.stayed) == (12, None, 'reserved', 58.0)
