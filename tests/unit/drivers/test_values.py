# SPDX-License-Identifier: Apache-2.0
import pathlib
import string

import pytest

from multiattach.domain import errors
from multiattach.drivers import values
from multiattach.drivers.targets.tgt import config_file, protocol
from multiattach.drivers.targets.tgt.config_file import TargetFile


@pytest.mark.parametrize('sign', [*string.printable, 'é', 'ж', '日', '\u00a0', '\u2028', '\ud800'])
def test_what_is_taken_at_the_start_the_target_takes_as_well(sign):
    """Else it would start, and fail at each attach."""
    path = f'/srv/a{sign}b/volumes/volume-1'
    try:
        values.check_path('Option --state-dir', pathlib.Path(path))
    except errors.ConfigurationError:
        assert sign not in string.ascii_letters + string.digits + '/._-éж日'
        return
    protocol.check_value('path', path)
    config_file.render(TargetFile('iqn.2010-10.org.x:y', path, 1, True, 'a', 'b', ()))


def test_a_path_that_cannot_be_exported_is_named():
    with pytest.raises(errors.ConfigurationError, match=r'Option --state-dir: .* has the character'):
        values.check_path('Option --state-dir', pathlib.Path('/srv/a b'))
    with pytest.raises(errors.ConfigurationError, match='longer than'):
        values.check_path('Option --state-dir', pathlib.Path('/srv/' + 'a/' * 300))


@pytest.mark.parametrize(
    'prefix',
    [
        '',
        'iqn',
        'iqn.2010-10.org.openstack:a b',
        'iqn.2010-10.org,x:',
        'iqn.2010-10.org.' + 'x' * 200,
        'eui.0123',
        'iqn.2010-10.org#',
    ],
)
def test_a_prefix_that_no_target_can_have(prefix):
    with pytest.raises(errors.ConfigurationError, match='Option iqn_prefix'):
        values.check_iqn_prefix('Option iqn_prefix in [tgt]', prefix)
    values.check_iqn_prefix('Option iqn_prefix in [tgt]', 'iqn.2010-10.org.openstack:')
