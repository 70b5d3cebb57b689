# SPDX-License-Identifier: Apache-2.0
"""Find invalid values and unknown names in configuration files.

oslo.config ignores a name that it does not know, so a misspelt option is a default that nobody wanted.
"""

import contextlib
import dataclasses
import difflib
import glob
from collections.abc import Iterable, Mapping
from importlib import metadata

from keystoneauth1 import exceptions, loading
from oslo_config import cfg, iniparser

from multiattach.conf import glance, nova, plugins, volume as volume_conf
from multiattach.domain import errors

NAMESPACES = (
    'multiattach',
    'keystonemiddleware.auth_token',
    'os_brick',
    'oslo.concurrency',
    'oslo.db',
    'oslo.log',
    'oslo.messaging',
    'oslo.middleware',
    'oslo.policy',
    'oslo.privsep',
    'oslo.reports',
    'oslo.service.service',
)
_AUTH_GROUPS = ('keystone_authtoken', nova.GROUP, glance.GROUP)
Known = dict[str, dict[str, cfg.Opt]]


@dataclasses.dataclass(frozen=True)
class ConfigFinding:
    where: str
    text: str

    def __str__(self) -> str:
        return f'{self.where}: {self.text}'


def inspect(conf: cfg.ConfigOpts) -> list[ConfigFinding]:
    """Look through the files that a program has read, in their order; what is found holds no secret."""
    known = _collect(conf)
    findings = []
    for path in _list_files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(path, sections).parse()
        except (iniparser.ParseError, cfg.ParseError, OSError) as exc:
            findings.append(ConfigFinding(path, str(exc)))
            continue
        for section, names in sections.items():
            findings += _inspect_section(conf, known, f'{path} [{section}]', section, names)
    return findings


def _list_files(conf: cfg.ConfigOpts) -> list[str]:
    folders = conf.config_dir or []
    found = [str(path) for folder in folders for path in sorted(_expand(folder))]
    return [*(conf.config_file or []), *found]


def _expand(folder: str) -> Iterable[str]:
    return glob.glob(f'{folder}/*.conf')


def _inspect_section(
    conf: cfg.ConfigOpts, known: Known, where: str, section: str, names: Mapping[str, list[str]]
) -> list[ConfigFinding]:
    if section not in known:
        return [ConfigFinding(where, f'unknown section{_suggest(section, known, "[{}]")}')]
    findings = []
    for name in names:
        opt = known[section].get(name.replace('-', '_'))
        if opt is None:
            findings.append(ConfigFinding(where, f'unknown option {name}{_find_near(known, section, name)}'))
            continue
        try:
            _read(conf, section, opt)
        except (cfg.Error, ValueError) as exc:
            # Not the value: it may be a password.
            reason = f'it is not a valid {opt.type}' if opt.secret else _shorten(str(exc))
            findings.append(ConfigFinding(where, f'option {name} has an invalid value: {reason}'))
    return findings


def _shorten(text: str) -> str:
    """Leave out how oslo.config names a place; the finding has it already."""
    return text.partition('is not valid: ')[2] or text


def _read(conf: cfg.ConfigOpts, section: str, opt: cfg.Opt) -> None:
    group = None if section == 'DEFAULT' else section
    try:
        conf.register_opt(opt, group=group)
    except cfg.DuplicateOptError:
        pass  # the program's own has another default
    except cfg.ArgsAlreadyParsedError:
        return  # of the command line
    (conf if group is None else conf[group])[opt.dest]


def _collect(conf: cfg.ConfigOpts) -> Known:
    known: Known = {'DEFAULT': {}}
    points = {point.name: point for point in metadata.entry_points(group='oslo.config.opts')}
    for namespace in NAMESPACES:
        if namespace in points:
            for group, opts in points[namespace].load()():
                _add(known, str(group or 'DEFAULT'), opts)
    known.pop('file', None)  # the sample's name for a backend
    for name in conf.volume.enabled_backends:
        _add_backend(conf, known, name)
    for option, namespace in (('connector', plugins.CONNECTORS), ('hypervisor', plugins.HYPERVISORS)):
        _add_driver(conf, known, 'host_agent', option, namespace)
    for group in (nova.GROUP, glance.GROUP):
        _add(known, group, loading.get_session_conf_options())
    for group in _AUTH_GROUPS:
        _add_auth(conf, known, group)
    return known


def _add_backend(conf: cfg.ConfigOpts, known: Known, name: str) -> None:
    volume_conf.register_backend(conf, name)
    _add(known, name, volume_conf.BACKEND_OPTS)
    _add_driver(conf, known, name, 'driver', plugins.BACKENDS)
    _add_driver(conf, known, name, 'target_driver', plugins.TARGETS)


def _add_driver(conf: cfg.ConfigOpts, known: Known, group: str, option: str, namespace: str) -> None:
    """Add the options of the driver that an option names; what is wrong with the name is found elsewhere."""
    with contextlib.suppress(errors.ConfigurationError, cfg.Error, ValueError):
        plugin = plugins.load(namespace, conf[group][option], option)
        _add(known, plugins.get_group(plugin, group), plugin.OPTS)


def _add_auth(conf: cfg.ConfigOpts, known: Known, group: str) -> None:
    """Add the options of the authentication plugin that a group names, or of the one it points to."""
    _add(known, group, loading.get_auth_common_conf_options())
    for opt in loading.get_auth_common_conf_options():
        conf.register_opt(opt, group=group)
    section = conf[group].auth_section or group
    if section != group:
        _add(known, section, loading.get_auth_common_conf_options())
        for opt in loading.get_auth_common_conf_options():
            conf.register_opt(opt, group=section)
    if conf[section].auth_type:
        try:
            _add(known, section, loading.get_auth_plugin_conf_options(conf[section].auth_type))
        except exceptions.NoMatchingPlugin:
            return  # the programs themselves say so


def _add(known: Known, group: str, opts: Iterable[cfg.Opt]) -> None:
    for opt in opts:
        known.setdefault(group, {})[opt.dest] = opt
        for old in opt.deprecated_opts:
            if old.name:
                known.setdefault(old.group or group, {})[old.name.replace('-', '_')] = opt


def _find_near(known: Known, section: str, name: str) -> str:
    near = _suggest(name, known[section], '{}')
    if near:
        return near
    others = [group for group, opts in known.items() if name.replace('-', '_') in opts]
    return f'; it belongs in {" or ".join(f"[{group}]" for group in others)}' if others else ''


def _suggest(name: str, names: Iterable[str], form: str) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f'; did you mean {form.format(near[0])}?' if near else ''
