# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.drivers.ceph.addresses import check_instance, strip_kind


@pytest.mark.parametrize('address', ['10.0.0.1:0/1', '[fd00::1]:0/4294967295', '10.0.0.1:6789/12'])
def test_one_instance(address):
    for kind in ('', 'v1:', 'v2:', 'any:'):
        assert check_instance(strip_kind(kind + address)) == address


@pytest.mark.parametrize('address', ['10.0.0.1', '10.0.0.1:0/0', '10.0.0.1:0', '10.0.0.0:0/16x', '10.0.0.1:0/1,', ''])
def test_what_others_share_is_refused(address):
    with pytest.raises(ValueError, match='not the address of one client'):
        check_instance(address)
