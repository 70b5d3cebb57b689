# SPDX-License-Identifier: Apache-2.0
"""Explanations tell who is at a step, how often it was tried, and when it is tried next."""

from typing import Any

from multiattach.drivers.errors import TargetUnavailable
from tests.functional.api.conftest import AwkwardTarget, Caller
from tests.functional.api.test_explain import MEMBER, explain


def test_an_attempt_without_a_result_is_told(awkward: Caller, target: AwkwardTarget, monkeypatch: Any) -> None:
    volume_id = awkward.make_volume()
    ident = awkward.reserve(volume_id).json['attachment']['id']
    assert explain(awkward, 'attachments', ident)['lease'] is None

    def hang(*_args: Any) -> None:
        raise TargetUnavailable('no answer')

    with monkeypatch.context() as patch:
        patch.setattr(target, 'grant', hang)
        assert awkward.connect(ident, 'compute-7').status_int == 504
        for noun, known in (('attachments', ident), ('volumes', volume_id)):
            whole, seen = explain(awkward, noun, known), explain(awkward, noun, known, **MEMBER)
            assert whole['lease']['process'].startswith('volume:volume.testhost/')
            assert 'process' not in seen['lease']
            assert seen['lease']['attempts'] >= 1
            assert seen['lease']['error'] == 'The target does not answer: no answer'
            assert 'had no result' in seen['next']
