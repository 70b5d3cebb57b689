# SPDX-License-Identifier: Apache-2.0
"""A libvirt that has lost all its servers, and has them again: a real libvirtd, and servers that are off.

What a server writes matters elsewhere; here it matters that nobody believes an empty libvirt.
"""

import contextlib
import pathlib
import random
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multiattach.domain.drift import Drift
from multiattach.domain.findings import Outcome
from tests.histories.looks import Looks
from tests.testbed.libvirtd import Libvirtd
from tests.testbed.polling import wait_until

if TYPE_CHECKING:
    from tests.histories.field import Field

COMPUTE = 'compute 2.60'
_SERVERS = 7  # more than a breaker lets go by itself
_ROUNDS = 3  # looks of a person, who asks for repairs as well
_BETWEEN = 3.0  # s between two looks: a look puts the agent's own round off, which comes every 2 s
_KEPT = ('qemu', 'secrets')  # what libvirtd knows of servers, and of their disks' secrets
_DOMAIN = """\
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices></domain>"""


class Host:
    """A libvirtd with servers that are off, and an agent's configuration for it."""

    def __init__(self) -> None:
        self._daemon: Libvirtd
        self.servers = [str(uuid.UUID(int=0x40008000 << 32 | number)) for number in range(1, _SERVERS + 1)]

    @contextlib.contextmanager
    def run(self) -> Iterator['Host']:
        """Bring it up, and down again."""
        # Not the folder of others: the path of a Unix socket has a limit.
        with tempfile.TemporaryDirectory(prefix='ma-lh-') as name, Libvirtd(pathlib.Path(name, 'lv')) as self._daemon:
            connection = self._connect()
            for number, ident in enumerate(self.servers):
                connection.defineXML(_DOMAIN.format(name=f'server{number}', uuid=ident))
            connection.close()
            yield self

    @property
    def settings(self) -> str:
        """Configuration of the agent."""
        return f'enabled = yes\nconnector = qemu\nlibvirt_uri = {self._daemon.uri}\n'

    def vanish(self) -> None:
        """Start libvirtd anew, without any of its servers."""
        self._restart('', '.away')

    def return_(self) -> None:
        """Start it anew, with all of them."""
        self._restart('.away', '')

    def _restart(self, before: str, after: str) -> None:
        process = self._daemon._process
        assert process is not None
        process.kill()
        process.wait()
        self._daemon.socket.unlink(missing_ok=True)
        for name in _KEPT:
            place = self._daemon.folder / 'etc'
            if after == '' and (place / name).exists():
                (place / name).rename(place / f'{name}.empty{time.monotonic_ns()}')
            if (place / f'{name}{before}').exists():
                (place / f'{name}{before}').rename(place / f'{name}{after}')
        self._daemon._process = None
        self._daemon.start()
        self._connect().close()

    def _connect(self) -> Any:
        return wait_until(self._try, 60, 'libvirtd')  # its socket is there before anybody listens

    def _try(self) -> Any:
        try:
            return self._daemon.connect()
        except Exception:
            return None


class VanishedLibvirt:
    """No server loses its volume because libvirt shows none; the doctor and explain say what is waited for.

    :param field: the deployment; it has an agent.
    :param _chance: nothing is left to it.
    :param patience: seconds within which each step of it is done.
    """

    is_alone = True

    def __init__(self, field: 'Field', _chance: random.Random, patience: float = 60.0) -> None:
        self._field = field
        self._patience = patience
        self.volumes: list[str] = []
        self._looks = Looks(field, _BETWEEN)

    @property
    def _host(self) -> Host:
        assert self._field.host is not None, 'prepare() was not told of "libvirt"'
        return self._field.host

    def begin(self) -> None:
        """Have all servers share a volume."""
        self.volumes = self._field.make_volumes(['shared'])

    def act(self) -> None:
        """Attach; lose all servers, look what happens, and find them again."""
        wait_until(self._are_registered, self._patience, 'the servers of the agent')
        for server in self._host.servers:
            code, reply = self._ask('POST', server, {'volumeAttachment': {'volumeId': self.volumes[0]}})
            assert code == 200, reply
        wait_until(lambda: self._list() == ['attached'] * _SERVERS, self._patience, 'that all have the volume')
        before = self._read_admitted()
        self._host.vanish()
        try:
            self._look(before)
        finally:
            self._host.return_()
        self._looks.await_(
            lambda found: found['left'] == 0, self._patience, 'libvirt has its servers again, and all is not well'
        )
        self._judge(before)

    def end(self) -> list[str]:
        """Take the volume from all servers.

        :returns: what is wrong.
        """
        for server in self._host.servers:
            code, reply = self._field.ask(
                'DELETE', f'/compute/v2.1/servers/{server}/os-volume_attachments/{self.volumes[0]}', version=COMPUTE
            )
            if code != 202:
                self._looks.wrong.append(f'server {server} does not let go: {code} {reply}')
        self._looks.await_(lambda found: self._list() == [], self._patience, 'servers do not let go of the volume')
        return self._looks.wrong

    # -- parts ---------------------------------------------------------------------------------

    def _ask(self, method: str, server: str, body: Any) -> tuple[int, Any]:
        return self._field.ask(method, f'/compute/v2.1/servers/{server}/os-volume_attachments', body, version=COMPUTE)

    def _are_registered(self) -> bool:
        _, reply = self._field.ask('GET', '/compute/v2.1/servers', version=COMPUTE)
        return {one['id'] for one in reply['servers']} >= set(self._host.servers)

    def _list(self) -> list[str]:
        return [
            state
            for (state,) in self._field.query(
                'SELECT state FROM attachments WHERE volume_id = :ident AND deleted_at IS NULL', ident=self.volumes[0]
            )
        ]

    def _read_admitted(self) -> list[str]:
        target = self._field.look().targets.get(self.volumes[0])
        return sorted(target.initiators) if target is not None else []

    def _look(self, before: list[str]) -> None:
        self._looks.await_(
            lambda found: len(_waiting(found)) == _SERVERS,
            self._patience,
            f'not all of {_SERVERS} servers are missed, and wait',
        )
        found = self._looks.ask_repairs(_ROUNDS, 0.5, 'with an empty libvirt')
        if not all(one['error'] for one in _waiting(found)):
            self._looks.wrong.append(f'nobody says why things wait: {str(found)[:2000]}')
        idents = [
            ident
            for (ident,) in self._field.query(
                'SELECT id FROM attachments WHERE volume_id = :ident', ident=self.volumes[0]
            )
        ]
        self._looks.explain(idents[0], Drift.DOMAIN_GONE, 'the explanation does not say what is missed')
        self._judge(before)

    def _judge(self, before: list[str]) -> None:
        """Nobody has lost anything."""
        if (states := self._list()) != ['attached'] * _SERVERS:
            self._looks.wrong.append(f'attachments were cut: {states}')
        if (admitted := self._read_admitted()) != before:
            self._looks.wrong.append(f'the target admitted {before}, and admits {admitted}')


def _waiting(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in found['findings'] if one['kind'] == Drift.DOMAIN_GONE and one['outcome'] == Outcome.WAITING]
