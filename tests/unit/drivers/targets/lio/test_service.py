# SPDX-License-Identifier: Apache-2.0
"""What a program is told whose configuration, or whose machine, has no target of the kernel."""

from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from multiattach.cmd import parts
from multiattach.conf import lio, plugins
from multiattach.domain import errors
from multiattach.drivers.targets.lio import service
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.service import LioService


def read(tmp_path: Path, **values: Any) -> Any:
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt('state_path', default=str(tmp_path))])
    conf.register_opts(lio.OPTS, group=lio.GROUP)
    conf([])
    for name, value in values.items():
        conf.set_override(name, value, group=lio.GROUP)
    return conf[lio.GROUP]


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ({'portal': 'storage:3260'}, 'Option portal in \\[lio\\] must be ADDRESS:PORT'),
        ({'portal': '0.0.0.0:3260'}, 'and listen in \\[lio\\] to 0.0.0.0:3260'),
        ({'listen': 'x'}, 'Option listen in \\[lio\\]'),
        ({'iqn_prefix': 'IQN'}, 'Option iqn_prefix in \\[lio\\]'),
        ({'reservations_dir': '/a b'}, 'Option reservations_dir in \\[lio\\]'),
        ({}, 'load the module target_core_mod, and mount configfs'),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], said: str
) -> None:
    # Whatever this machine has.
    monkeypatch.setattr(service, 'Configfs', lambda: Configfs(tmp_path / 'target'))
    with pytest.raises(errors.ConfigurationError, match=said):
        LioService.from_options(read(tmp_path, **values), plugins.Surroundings(lio.GROUP, 'host', tmp_path))


def test_images_of_ceph_are_exported_by_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt('driver', default='rbd'), cfg.StrOpt('target_driver', default='lio')], group='fast')
    conf.register_opts([cfg.StrOpt('cluster', default='gateways')], group='volume')
    conf([])
    monkeypatch.setattr(plugins, 'load', lambda *_: LioService)
    with pytest.raises(errors.ConfigurationError, match=r'Option target_driver in \[fast\]: .* one worker alone'):
        parts.TargetDrivers(conf).make('fast')
