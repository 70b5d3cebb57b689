# SPDX-License-Identifier: Apache-2.0
"""libiscsi's conformance suite on a target of the kernel as the driver makes it."""

import dataclasses

import pytest

from multiattach.drivers.targets.lio.target import LioTarget
from tests.functional.drivers.targets.conformance import FAMILIES, read_page, run_family
from tests.functional.drivers.targets.tgt.conftest import Volume

pytestmark = [pytest.mark.kernel_target, pytest.mark.slow]


def test_each_test_ends_as_the_page_says(target: LioTarget, volume: Volume) -> None:
    one = volume.grant(1)
    # The suite has one account for both; here each initiator has its own, which may be the same.
    two = dataclasses.replace(one, initiator=volume.grant(2).initiator)
    info = volume.grant_all(target, [one, two])
    found = {name: done for family in FAMILIES for name, done in run_family(family, info, one, two.initiator).items()}
    for name, done in found.items():
        print(name, done.word, done.said.replace('\n', ' | ') if done.word != 'passed' else '')
    wanted = read_page('lio')
    assert not {name: done for name, done in found.items() if done.word != wanted.get(name)}
    assert found.keys() == wanted.keys()
    with volume.login(info, two) as session:
        session.write(0, bytes(512))
