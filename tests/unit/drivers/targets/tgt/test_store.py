# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.drivers.errors import TargetRequestInvalid
from multiattach.drivers.targets.tgt.parse import parse_stores
from multiattach.drivers.targets.tgt.store import Store, find_store

SYSTEM = """\
System:
    State: ready
LLDs:
    iscsi: ready
Backing stores:
    rbd (bsoflags sync:direct)
    bsg
    rdwr (bsoflags sync:direct)
Device types:
    disk
"""


def test_a_path_is_of_the_usual_kind() -> None:
    assert find_store('/dev/vg/volume-1') == Store('/dev/vg/volume-1', 'rdwr')
    assert find_store('/srv/rbd:x/volume-1') == Store('/srv/rbd:x/volume-1', 'rdwr')


def test_an_image_comes_with_its_user_and_cluster() -> None:
    found = find_store('rbd:volumes/volume-1:id=u:conf=/etc/ceph/a.conf:cluster=far')
    assert found == Store('volumes/volume-1', 'rbd', 'id=u;conf=/etc/ceph/a.conf;cluster=far')


@pytest.mark.parametrize(
    'device',
    [
        'rbd:volume-1',
        'rbd:a/b@snap',
        'rbd:a/b/c',
        'rbd:a/b:id=x,bstype=null',
        'rbd:a/b:id=x;cephx_key=y',
        "rbd:a/b:conf=/x'y",
        'rbd:a/b:conf=/x y',
        'rbd:a/b:key=SECRET',
        'rbd:a/b:id=',
        'rbd:a/b:',
    ],
)
def test_what_would_mean_something_else_is_refused(device: str) -> None:
    with pytest.raises(TargetRequestInvalid):
        find_store(device)


def test_kinds_that_tgtd_has() -> None:
    assert parse_stores(SYSTEM) == ['rbd', 'bsg', 'rdwr']
