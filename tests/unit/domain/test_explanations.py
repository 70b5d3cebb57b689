# SPDX-License-Identifier: Apache-2.0
"""Each state and each status is explained, and the explanations agree with the tables of states."""

import itertools

import pytest

from multiattach.domain import explanations, states
from multiattach.domain.explanations import AttachmentFacts, explain_attachment
from multiattach.domain.states import Attachment, Claim, Owner, Volume

BOTH = (True, False)


def facts(state: str, driven: bool = True, **more: object) -> AttachmentFacts:
    return AttachmentFacts('ID', state, driven, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(('state', 'driven'), itertools.product(Attachment, BOTH))
def test_every_state_of_an_attachment(state: Attachment, driven: bool) -> None:
    outlook = explain_attachment(facts(state, driven))
    assert outlook.meaning == states.ATTACHMENT_STATES[state].doc
    assert outlook.next.endswith('.')
    assert outlook.advice
    assert '{' not in outlook.advice
    assert outlook.owner == states.find_owner(state, by_agent=driven)


@pytest.mark.parametrize(('state', 'driven'), itertools.product(Attachment, BOTH))
def test_owners_are_the_table_s_but_for_what_an_agent_carries_on(state: Attachment, driven: bool) -> None:
    owner = states.find_owner(state, by_agent=driven)
    if driven and state in (Attachment.RESERVED, Attachment.EXPORTED):
        assert owner is Owner.HOST
    else:
        assert owner is states.ATTACHMENT_STATES[state].owner


@pytest.mark.parametrize(
    'state', [state for state in Attachment if states.find_owner(state, by_agent=True) in (Owner.HOST, Owner.VOLUME)]
)
def test_an_owner_who_is_down_or_slow_comes_first(state: Attachment) -> None:
    owner = states.find_owner(state, by_agent=True)
    assert explain_attachment(facts(state, owner_is_up=False)).advice.startswith(
        f'The {owner} does not report: restart it.'
    )
    assert '(90 s)' in explain_attachment(facts(state, seconds=90.0, owner_is_up=True)).advice
    assert explain_attachment(facts(state, seconds=30.0, owner_is_up=True)).advice.startswith('Wait')


@pytest.mark.parametrize('status', [*sorted(states.RESETTABLE), 'retyping', 'backing-up'])
def test_whatever_a_status_was_reset_to_somebody_acts_or_it_is_a_dead_end_with_a_way_out(status: str) -> None:
    """Those of an earlier release too, which let more be set."""
    outlook = explanations.explain_volume(status, [])
    if status in states.WORKER_STATUSES:
        assert outlook.owner is Owner.VOLUME
    elif status not in states.DERIVED_STATUSES:
        assert outlook.owner is Owner.USER
        assert outlook.next.startswith('Nothing until')
        assert '--state available VOLUME' in outlook.advice


@pytest.mark.parametrize('state', [Attachment.ATTACHED, Attachment.ERROR_ATTACHING, Attachment.DETACHED])
def test_time_alone_makes_nothing_slow_that_waits_for_nobody(state: Attachment) -> None:
    late = explain_attachment(facts(state, seconds=1e6, owner_is_up=False))
    assert late == explain_attachment(facts(state))


def test_what_a_person_can_do_names_the_attachment() -> None:
    for state in (Attachment.ERROR_ATTACHING, Attachment.ERROR_DETACHING):
        advice = explain_attachment(facts(state)).advice
        assert 'openstack --os-volume-api-version 3.27 volume attachment delete ID' in advice
    assert 'delete ID' in explain_attachment(facts(Attachment.RESERVED, driven=False)).advice


def test_an_error_changes_what_comes_next() -> None:
    going = explain_attachment(facts(Attachment.UNEXPORTING, error='x'))
    assert 'error_attaching' in going.next
    assert 'is deleted' in explain_attachment(facts(Attachment.UNEXPORTING)).next
    assert 'can be supplied' in explain_attachment(facts(Attachment.RESERVED, driven=False, error='x')).next


@pytest.mark.parametrize('status', Volume)
def test_every_status_of_a_volume(status: Volume) -> None:
    outlook = explanations.explain_volume(status, [])
    assert outlook.meaning.endswith('.')
    assert outlook.next
    assert outlook.advice
    assert (outlook.owner is Owner.VOLUME) == (status in states.WORKER_STATUSES)


@pytest.mark.parametrize('status', sorted(states.WORKER_STATUSES))
def test_a_worker_that_is_down(status: str) -> None:
    assert explanations.explain_volume(status, [], worker_is_up=False).advice.startswith(
        'The volume worker does not report'
    )


def test_a_volume_waits_for_what_its_attachment_waits_for() -> None:
    outlook = explain_attachment(facts(Attachment.CONNECTING))
    shown = explanations.explain_volume(Volume.ATTACHING, [outlook])
    assert (shown.owner, shown.next, shown.advice) == (outlook.owner, outlook.next, outlook.advice)
    attached = explain_attachment(facts(Attachment.ATTACHED))
    assert explanations.explain_volume(Volume.IN_USE, [attached]).owner is Owner.NOBODY


@pytest.mark.parametrize(
    'found', [found for number in (0, 1, 2) for found in itertools.combinations_with_replacement(Attachment, number)]
)
@pytest.mark.parametrize('claim', [None, *Claim])
def test_every_derived_status_has_its_reason(found: tuple[Attachment, ...], claim: str | None) -> None:
    rows = {str(number): state for number, state in enumerate(found) if state is not Attachment.DETACHED}
    counts: dict[str, int] = {}
    for state in rows.values():
        counts[state] = counts.get(state, 0) + 1
    status = states.derive_status(counts, claim)
    verdict = explanations.judge_status(status, claim, dict(rows))
    assert verdict.derived
    assert 'The record says' not in verdict.reason
    sources = {sources for sources, derived in states.DERIVATION if derived == status}
    if verdict.decided_by:
        [only] = sources
        assert {rows[ident] for ident in verdict.decided_by} <= only
        assert all(ident in verdict.decided_by for ident, state in rows.items() if state in only)
    elif claim is not None and status in (Volume.ATTACHING, Volume.DETACHING):
        assert 'was called' in verdict.reason
    else:
        assert status == Volume.AVAILABLE


def test_a_record_that_disagrees_is_told() -> None:
    verdict = explanations.judge_status(Volume.AVAILABLE, None, {'a': Attachment.ATTACHED})
    assert verdict.reason.startswith('The record says available, but the attachments make it in-use.')


@pytest.mark.parametrize('status', [status for status in Volume if status not in states.DERIVED_STATUSES])
def test_other_statuses_are_not_the_attachments_doing(status: Volume) -> None:
    verdict = explanations.judge_status(status, None, {'a': Attachment.ATTACHED})
    assert not verdict.derived
    assert verdict.decided_by == ()


@pytest.mark.parametrize(
    ('multiattach', 'servers', 'warns'),
    [(True, 0, False), (True, 1, False), (True, 2, True), (True, 3, True), (False, 2, False)],
)
def test_who_is_warned(multiattach: bool, servers: int, warns: bool) -> None:
    assert explanations.must_warn(multiattach, servers) is warns


def test_the_warning_names_the_danger_and_the_ways_out() -> None:
    for word in ('ext4', 'GFS2', 'OCFS2', 'SCSI-3 persistent reservations'):
        assert word in explanations.SHARED_WARNING
