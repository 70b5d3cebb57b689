# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest

from multiattach.domain import states

PUBLIC = {'reserved', 'attaching', 'attached', 'detaching', 'detached', 'error_attaching', 'error_detaching'}


def test_every_attachment_state_has_a_row_with_a_public_status():
    assert set(states.ATTACHMENT_STATES) == set(states.Attachment)
    assert {info.public for info in states.ATTACHMENT_STATES.values()} == PUBLIC


@pytest.mark.parametrize(
    ('table', 'enumeration'), [(states.ATTACHMENT_EVENTS, states.Attachment), (states.VOLUME_EVENTS, states.Volume)]
)
def test_events_name_known_states_only(table, enumeration):
    known = set(enumeration)
    for row in table.values():
        assert row.sources <= known
        assert row.target is None or row.target in known
        assert row.doc.endswith('.')


# A person may abandon an attachment in any state; the others must not need it.
BY_ITSELF = [row for row in states.ATTACHMENT_EVENTS.values() if row.event != 'abandon']


def _reachable(start):
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for row in BY_ITSELF:
            if state in row.sources and row.target not in seen:
                seen.add(row.target)
                todo.append(row.target)
    return seen


def test_every_attachment_state_can_be_reached_from_reserved():
    assert _reachable('reserved') == set(states.Attachment)


@pytest.mark.parametrize('state', list(states.Attachment))
def test_from_every_attachment_state_the_end_can_be_reached(state):
    assert 'detached' in _reachable(state)


def test_nothing_leads_out_of_the_end():
    assert not any('detached' in row.sources for row in states.ATTACHMENT_EVENTS.values())
    assert not any('deleted' in row.sources for row in states.VOLUME_EVENTS.values())


def test_every_state_of_a_worker_or_an_agent_has_an_event_for_success_and_for_failure():
    for owner in (states.Owner.VOLUME, states.Owner.HOST):
        for state in states.owned_states(owner):
            leads_to = {row.target for row in BY_ITSELF if state in row.sources}
            # A fence never gives up: what fails is tried again.
            assert len(leads_to - {state}) >= 2 or (state == 'fencing' and leads_to == {'fencing', 'fenced'})


def test_states_of_a_public_status():
    assert set(states.states_of('attaching')) == {'exporting', 'exported', 'connecting'}
    assert states.states_of('nonsense') == ()
    assert {s for p in PUBLIC for s in states.states_of(p)} == set(states.Attachment)


def test_admitted_and_on_host_are_parts_of_on_target():
    assert states.ADMITTED < states.ON_TARGET
    assert states.ON_HOST <= states.ADMITTED


@pytest.mark.parametrize(
    ('counts', 'claim', 'status'),
    [
        ({}, None, 'available'),
        ({}, 'attaching', 'attaching'),
        ({}, 'detaching', 'available'),
        ({'reserved': 3}, None, 'reserved'),
        ({'reserved': 1, 'exporting': 1}, None, 'attaching'),
        ({'reserved': 1, 'exported': 1, 'attached': 1}, None, 'in-use'),
        ({'attached': 1, 'detaching': 1}, None, 'in-use'),
        ({'detaching': 1}, None, 'detaching'),
        ({'unexporting': 1, 'reserved': 1}, None, 'reserved'),
        ({'attached': 1}, 'detaching', 'detaching'),
        ({'attached': 2}, 'detaching', 'detaching'),
        ({'attached': 3}, 'detaching 2', 'detaching'),
        ({'attached': 1, 'unexporting': 1}, 'detaching', 'detaching'),
        ({'attached': 1}, 'attaching 1', 'detaching'),
        ({'attached': 1}, 'attaching', 'in-use'),
        ({}, 'attaching 1', 'attaching'),
        ({'exported': 1}, 'detaching', 'attaching'),
        ({'error_attaching': 2}, None, 'available'),
    ],
)
def test_derivation(counts, claim, status):
    assert states.derive_status(counts, claim) == status


def test_marks_are_kept_as_short_texts():
    assert len(states.MARKS) == 20
    assert all(claim is None or len(claim) <= 16 for claim in states.MARKS)
    assert all(marks.claim == claim for claim, marks in states.MARKS.items())
    assert {None, *states.Claim} <= set(states.MARKS)
    for marks in states.MARKS.values():
        assert marks.add_detaching().claim in states.MARKS
        assert marks.end_detaching().claim in states.MARKS
        if marks.detaching < 9:
            assert marks.add_detaching().end_detaching() == marks


def test_one_sharer_in_flight_never_hides_an_attached_one():
    others = [s for s in states.Attachment if s != 'attached']
    for pair in itertools.combinations(others, 2):
        assert states.derive_status({'attached': 1, **dict.fromkeys(pair, 1)}, None) == 'in-use'


@pytest.mark.parametrize('others', list(itertools.combinations_with_replacement([None, *states.LIVE], 2)))
def test_a_status_that_follows_is_the_derived_one(others):
    """Where the volume's own status does not tell, nothing is said."""
    counts = dict.fromkeys(filter(None, others), 1)
    for event in states.ATTACHMENT_EVENTS.values():
        for before in event.sources:
            status = states.derive_status(counts | {before: 1}, None)
            expected = states.derive_status(counts | {event.target: 1}, None)
            assert states.follow_status(status, before, event.target) in (expected, None)
    # A new one never asks.
    status = states.derive_status(counts, None)
    assert states.follow_status(status, 'detached', 'reserved') == states.derive_status(counts | {'reserved': 1}, None)


@pytest.mark.parametrize('status', sorted(set(states.Volume) - states.DERIVED_STATUSES))
def test_a_status_that_attachments_do_not_decide_stays(status):
    assert states.follow_status(status, 'attached', 'unexporting') == status
