# SPDX-License-Identifier: Apache-2.0
"""Drivers by name, those of this tree and others; for one that is installed see functional/drivers/test_foreign.py."""

import functools
import pathlib

import pytest
from oslo_config import cfg
from stevedore import extension

from multiattach import conf as configuration
from multiattach.cmd import parts
from multiattach.conf import plugins, volume
from multiattach.domain import errors


def make_conf(path: pathlib.Path, text: str) -> cfg.ConfigOpts:
    path.write_text(text)
    conf = cfg.ConfigOpts()
    configuration.register_opts(conf)
    conf(['--config-file', str(path)], project='multiattach')
    return conf


@pytest.mark.parametrize('namespace', plugins.NAMESPACES)
def test_each_driver_of_this_tree_has_the_form(namespace):
    assert plugins.list_names(namespace)
    for name in plugins.list_names(namespace):
        plugin = plugins.load(namespace, name, 'Option x')
        assert callable(plugin.from_options)
        assert all(isinstance(opt, cfg.Opt) for opt in plugin.OPTS)


@pytest.mark.parametrize(
    ('group', 'option', 'there'),
    [
        ('host_agent', 'connector', ['os-brick', 'qemu']),
        ('host_agent', 'hypervisor', ['libvirt']),
        ('fast', 'driver', ['file', 'lvm']),
        ('fast', 'target_driver', ['null', 'tgt']),
    ],
)
def test_a_name_that_is_not_there_stops_the_start(tmp_path, group, option, there):
    conf = make_conf(tmp_path / 'x.conf', f'[DEFAULT]\nstate_path = {tmp_path}\n[{group}]\n{option} = tape\n')
    read = functools.partial(configuration.verify, conf)
    with pytest.raises(errors.ConfigurationError) as found:
        (read if group == 'host_agent' else functools.partial(parts.make_backend, conf, 'fast'))()
    assert f'Option {option} in [{group}]' in str(found.value)
    assert 'tape' in str(found.value)
    assert all(name in str(found.value) for name in there)


def install(folder: pathlib.Path, name: str, entry: str, module: str, code: str) -> None:
    """Write what pip leaves behind of a package with one driver."""
    (folder / f'{module}.py').write_text(code)
    (folder / f'{name}-1.0.dist-info').mkdir()
    (folder / f'{name}-1.0.dist-info' / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
    (folder / f'{name}-1.0.dist-info' / 'entry_points.txt').write_text(entry)


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / 'site'
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(extension.ExtensionManager, 'ENTRY_POINT_CACHE', {})  # what a process finds stays in it
    plugins.list_names.cache_clear()
    yield folder
    plugins.list_names.cache_clear()


def test_a_driver_that_cannot_be_imported_stops_the_start(tmp_path, site):
    install(site, 'torn', '[multiattach.backends]\ntorn = torn_driver:Torn\n', 'torn_driver', '1 / 0\n')
    conf = make_conf(tmp_path / 'x.conf', '[fast]\ndriver = torn\n')
    with pytest.raises(errors.ConfigurationError, match=r'Option driver in \[fast\]: the driver torn cannot .*ZeroDiv'):
        parts.make_backend(conf, 'fast')
    assert 'file' in [group for group, _ in configuration.list_opts()]


def test_two_packages_with_one_name_stop_the_start(tmp_path, site):
    install(site, 'second', '[multiattach.backends]\nfile = second_driver:File\n', 'second_driver', 'class File: ...\n')
    conf = make_conf(tmp_path / 'x.conf', '')
    with pytest.raises(errors.ConfigurationError, match=r'Option driver in \[file\].*MultipleMatches'):
        parts.make_backend(conf, 'file')


def test_a_driver_has_options_of_its_own(tmp_path, site):
    code = (
        'from oslo_config import cfg\n'
        'class Own:\n'
        "    OPTS = [cfg.IntOpt('depth', default=3), cfg.StrOpt('directory')]\n"
    )
    install(site, 'own', '[multiattach.backends]\nown = own_driver:Own\n', 'own_driver', code)
    conf = make_conf(tmp_path / 'x.conf', '[fast]\ndriver = own\ndepth = deep\n[slow]\ndirectory = /x\n')
    plugin = plugins.load(plugins.BACKENDS, 'own', 'Option driver')
    with pytest.raises(errors.ConfigurationError, match=r'Option depth in \[fast\]'):
        plugins.read_options(conf, plugin, 'fast')
    assert plugins.read_options(conf, plugin, 'slow').depth == 3
    listed = [opt.dest for group, opts in configuration.list_opts() if group == 'file' for opt in opts]
    assert 'depth' in listed
    assert {opt.dest for opt in volume.BACKEND_OPTS} <= set(listed)
