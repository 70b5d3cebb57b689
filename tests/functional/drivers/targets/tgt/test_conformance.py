# SPDX-License-Identifier: Apache-2.0
"""libiscsi's conformance suite on a target as the driver makes it."""

from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.targets.conformance import FAMILIES, read_page, run_family

from .conftest import Volume


def test_each_test_ends_as_the_page_says(target: TgtTarget, volume: Volume) -> None:
    one, two = grants = [volume.grant(1), volume.grant(2)]
    info = volume.grant_all(target, grants)
    found = {name: done for family in FAMILIES for name, done in run_family(family, info, one, two.initiator).items()}
    wanted = read_page('tgt')
    differing = {name: done for name, done in found.items() if done.word != wanted.get(name)}
    assert not differing
    assert found.keys() == wanted.keys()
    # The suite takes back what it registered, so nothing of it holds the volume.
    with volume.login(info, two) as session:
        session.write(0, bytes(512))
