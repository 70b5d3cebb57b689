# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest

from multiattach import conf as configuration
from multiattach.domain import errors


def load(tmp_path: pathlib.Path, name: str) -> str:
    path = tmp_path / 'test.conf'
    path.write_text(f'[DEFAULT]\nhost = {name}\n')
    conf = configuration.load(['--config-file', str(path)], program='test', description='test')
    return str(conf.host)


def test_a_name(tmp_path: pathlib.Path) -> None:
    assert load(tmp_path, 'compute-1') == 'compute-1'


@pytest.mark.parametrize('name', ['"compute-1 "', '" compute-1"', '""', 'x' * 256])
def test_what_can_be_no_host_s_name_stops_the_program(tmp_path: pathlib.Path, name: str) -> None:
    """A person could not fence it."""
    with pytest.raises(errors.ConfigurationError, match='Option host in'):
        load(tmp_path, name)
