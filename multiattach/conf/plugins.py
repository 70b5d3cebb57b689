# SPDX-License-Identifier: Apache-2.0
"""Drivers, found by name among the entry points of all packages that are installed."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Protocol

from oslo_config import cfg, types
from stevedore import driver

from multiattach.domain import errors

TARGETS = 'multiattach.targets'
BACKENDS = 'multiattach.backends'
CONNECTORS = 'multiattach.connectors'
HYPERVISORS = 'multiattach.hypervisors'
NAMESPACES = (TARGETS, BACKENDS, CONNECTORS, HYPERVISORS)


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """Where a driver runs.

    :param section: group of the driver's options, for its messages.
    :param host: ``host`` in ``[DEFAULT]``.
    :param state_path: folder for what must outlive the program.
    """

    section: str
    host: str
    state_path: pathlib.Path


class Plugin(Protocol):
    """What an entry point names: a class with this form; it need not import anything of this project.

    ``OPTION_GROUP`` is optional. With it the options stand in a group of their own, and all backends that name the
    driver share one; else they stand in the group of the option that names the driver.
    """

    OPTS: Sequence[cfg.Opt]

    @classmethod
    def from_options(cls, options: Any, surroundings: Surroundings) -> Any:
        """Make the driver.

        :param options: values by name, as ``cfg.CONF`` has them for a group.
        :raises DriverError: it cannot be used; the message says why.
        """


class DriverName(types.String):
    """Name of a driver; which ones there are is known when it is read.

    :param described: what the names of this project's own drivers mean.
    """

    def __init__(self, namespace: str, described: Mapping[str, str]) -> None:
        self._namespace = namespace
        self._described = described
        super().__init__()

    @property
    def choices(self) -> Any:
        names = list_names(self._namespace)
        if not names:
            raise ValueError(f'no package has entry points {self._namespace}: install multiattach again')
        return collections.OrderedDict((name, self._described.get(name)) for name in names)

    @choices.setter
    def choices(self, value: object) -> None: ...


@functools.cache
def list_names(namespace: str) -> tuple[str, ...]:
    """List the drivers of a namespace, in order of their names."""
    return tuple(sorted(metadata.entry_points(group=namespace).names))


def load(namespace: str, name: str, option: str) -> Any:
    """Import a :class:`Plugin`; messages name the *option* that names the driver."""
    try:
        return driver.DriverManager(namespace, name, warn_on_missing_entrypoint=False).driver
    except Exception as exc:  # whatever a module does when it is imported
        raise errors.ConfigurationError(
            f'{option}: the driver {name} cannot be loaded ({type(exc).__name__}: {exc}). '
            f'Installed are: {", ".join(list_names(namespace))}.'
        ) from exc


def get_group(plugin: Any, group: str) -> str:
    """Return the group of a driver's options: its own, or that of the option that names the driver."""
    return str(getattr(plugin, 'OPTION_GROUP', None) or group)


def read_options(conf: cfg.ConfigOpts, plugin: Any, group: str) -> Any:
    """Register the options of a driver and read them.

    :raises ConfigurationError: the message names the option.
    """
    section = get_group(plugin, group)
    for opt in plugin.OPTS:
        try:
            conf.register_opt(opt, group=section)
            conf[section][opt.dest]
        except (cfg.Error, ValueError) as exc:
            raise errors.ConfigurationError(f'Option {opt.name} in [{section}]: {exc}') from exc
    return conf[section]


def list_foreign_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """List the options of drivers outside this project, for the sample generator; without what cannot be imported."""
    found = []
    groups = dict(zip(NAMESPACES, ('file', 'file', 'host_agent', 'host_agent'), strict=True))
    for namespace, group in groups.items():
        for point in metadata.entry_points(group=namespace):
            if not point.value.startswith('multiattach.'):
                try:
                    plugin = load(namespace, point.name, point.name)
                except errors.ConfigurationError:
                    continue
                found.append((get_group(plugin, group), list(plugin.OPTS)))
    return found
