# SPDX-License-Identifier: Apache-2.0
"""What cinder.conf says, and which backend here has the volumes of which backend there."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from oslo_config import cfg

from multiattach.domain import connection, errors, pools

_NAME_TEMPLATE = 'volume-%s'
_MAPPING = re.compile(r'(?P<theirs>[^\s@#=]+@[^\s@#=]+(?:#[^\s=]+)?)=(?P<ours>[^\s@#=]+@[^\s@#=]+)')
_BACKEND_OPTS = [
    cfg.StrOpt('volume_driver'),
    cfg.StrOpt('target_helper', default='tgtadm'),
    cfg.StrOpt('target_protocol', default='iscsi'),
]
# Drivers of Cinder whose volumes a driver here can serve where they are, and how hosts reach them.
DRIVERS = {
    'cinder.volume.drivers.lvm.LVMVolumeDriver': connection.ISCSI,
    'cinder.volume.drivers.lvm.LVMISCSIDriver': connection.ISCSI,
    'cinder.volume.drivers.rbd.RBDDriver': connection.RBD,
}
TGT = 'tgtadm'


@dataclasses.dataclass(frozen=True)
class CinderBackend:
    """A backend as its section of cinder.conf has it."""

    driver: str
    helper: str
    protocol: str


@dataclasses.dataclass(frozen=True)
class CinderConf:
    """What is needed of cinder.conf.

    :param url: of the database; it may hold a password.
    :param backends: by name of their section.
    """

    url: str | None = dataclasses.field(repr=False)
    default_type: str
    name_template: str
    backends: Mapping[str, CinderBackend]

    @property
    def names_volumes_as_here(self) -> bool:
        return self.name_template == _NAME_TEMPLATE


def read_conf(path: str) -> CinderConf:
    """Read a cinder.conf.

    :raises ConfigurationError: it cannot be read; what stands in it is not told.
    """
    if not pathlib.Path(path).is_file():
        raise errors.ConfigurationError(f'--cinder-config: there is no file {path}.')
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt('connection', secret=True)], group='database')
    conf.register_opts(
        [
            cfg.ListOpt('enabled_backends', default=[]),
            cfg.StrOpt('default_volume_type', default='__DEFAULT__'),
            cfg.StrOpt('volume_name_template', default=_NAME_TEMPLATE),
        ]
    )
    try:
        conf([], project='cinder', default_config_files=[path], default_config_dirs=[])
        for name in conf.enabled_backends:
            conf.register_opts(_BACKEND_OPTS, group=name)
        return CinderConf(
            conf.database.connection,
            conf.default_volume_type,
            conf.volume_name_template,
            {
                name: CinderBackend(
                    conf[name].volume_driver or '', conf[name].target_helper, conf[name].target_protocol
                )
                for name in conf.enabled_backends
            },
        )
    except (cfg.Error, ValueError, OSError) as exc:
        raise errors.ConfigurationError(f'--cinder-config: {path} cannot be read ({type(exc).__name__}).') from None


class BackendMapping:
    """Which backend of this service has the volumes of which backend, or pool, of Cinder.

    :param named: ``HOST@BACKEND[#POOL]=HOST@BACKEND`` each, as an operator writes it.
    :param known: backends here: one of the same name needs no mapping.
    :raises InvalidInput: one is malformed, or named twice.
    """

    def __init__(self, named: Sequence[str], known: Iterable[str]) -> None:
        self._named: dict[str, str] = {}
        self._known = frozenset(known)
        for text in named:
            match = _MAPPING.fullmatch(text)
            if match is None:
                raise errors.InvalidInput(
                    f'--backend {text[:100]}: write HOST@BACKEND#POOL=HOST@BACKEND, first as os-vol-host-attr:host of '
                    'Cinder has it, then as "multiattach-manage service list" has it.'
                )
            if match['theirs'] in self._named:
                raise errors.InvalidInput(f'--backend {match["theirs"]} is given twice.')
            self._named[match['theirs']] = match['ours']

    def find(self, host: str) -> str | None:
        """Return the backend here of a volume's ``host`` in Cinder, None if nobody named one."""
        backend = pools.strip_pool(host)
        return self._named.get(host) or self._named.get(backend) or (backend if backend in self._known else None)

    @property
    def targets(self) -> frozenset[str]:
        """Backends here that an operator named."""
        return frozenset(self._named.values())
