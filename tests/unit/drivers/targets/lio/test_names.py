# SPDX-License-Identifier: Apache-2.0
"""Names that connectors may have and that would lead out of the folder of entries."""

from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetError

from .test_interrupted import PEER, VOLUME, Bench, grant


@pytest.mark.parametrize('name', ['.', '..', '../attrib', '/etc', '.hidden'])
def test_what_cannot_be_admitted_can_be_turned_away(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path)
    bench.admit(PEER)
    with pytest.raises(TargetError, match='cannot admit'):
        bench.target.grant(VOLUME, str(bench.device), grant(name))
    bench.target.revoke(VOLUME, name, 'user')
    assert bench.target._group(VOLUME).list_initiators() == [PEER]
    assert not bench.target.fence(VOLUME, name, 'user').is_left
    bench.target.revoke(VOLUME, name, 'user', alone=True)
    assert bench.target.list_exports() == {}
