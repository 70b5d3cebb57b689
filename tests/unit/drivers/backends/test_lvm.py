# SPDX-License-Identifier: Apache-2.0
"""What can be seen without device-mapper; tests/e2e runs it on a real volume group."""

import pytest

from multiattach.drivers.backend import BackendError
from multiattach.drivers.backends.lvm import LvmBackend


def test_a_volume_group_that_is_not_there_names_the_option():
    with pytest.raises(BackendError, match='volume_group'):
        LvmBackend('no-such-group').check()


def test_the_path_is_the_device():
    assert LvmBackend('vg').path('7b1d') == '/dev/vg/volume-7b1d'
