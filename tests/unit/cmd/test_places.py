# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from multiattach.cmd import places
from multiattach.domain import errors


def make(path, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(mode)
    return path


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_folder_of_before_is_closed_with_all_that_is_in_it(tmp_path):
    state = tmp_path / 'state'
    outside = make(tmp_path / 'outside', 0o644)
    files = [
        make(state / name, 0o644)
        for name in (
            'standalone.lock',
            'multiattach.sqlite',
            'multiattach.sqlite-wal',
            'clouds.yaml',
            'targets/volume-1',
        )
    ]
    (state / 'link').symlink_to(outside)
    for folder in (state, state / 'targets'):
        folder.chmod(0o755)
    assert places.close_folder('Option --state-dir', state) == 7
    assert [mode(path) for path in files] == [0o600] * 5
    assert [mode(path) for path in (state, state / 'targets')] == [0o700] * 2
    assert mode(outside) == 0o644
    assert places.close_folder('Option --state-dir', state) == 0


def test_a_folder_with_other_things_is_not_closed_to_their_owners(tmp_path):
    make(tmp_path / 'x' / 'diary', 0o644)
    (tmp_path / 'x').chmod(0o755)
    with pytest.raises(errors.ConfigurationError, match=r'Option --state-dir: .* holds other things'):
        places.close_folder('Option --state-dir', tmp_path / 'x')
    assert mode(tmp_path / 'x') == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason='only root gives files away')
def test_a_folder_of_somebody_else(tmp_path):
    folder = tmp_path / 'x'
    folder.mkdir(0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(errors.ConfigurationError, match=r'Option --state-dir: .* belongs to another user'):
        places.close_folder('Option --state-dir', folder)
