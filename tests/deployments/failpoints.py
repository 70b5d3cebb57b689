# SPDX-License-Identifier: Apache-2.0
"""The distributed deployment of the cluster's tests, with a host agent, its libvirtd and a guest."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from keystoneauth1 import session

from multiattach import failpoints
from multiattach.drivers.glance.client import ImageApi
from tests.deployments import distributed
from tests.deployments.noauth import PROJECT
from tests.deployments.programs import Program
from tests.testbed import Guest, Libvirtd
from tests.testbed.glance import Glance
from tests.testbed.polling import wait_until

DURATION = 4.0  # s, of leases
_MORE = (
    f'[DEFAULT]\nreport_interval = 0.5\n[leases]\nduration = {DURATION}\nretry_pause = 0.2\n'
    'longest_pause = 1.0\n[glance]\napi_servers = {glance}\nauth_type = none\n'
    '[coordination]\nbackend_url = {redis}?timeout=2\n[reconcile]\ninterval = 0\n'
    '[volume]\nenabled_backends = file,copy\n[copy]\ndirectory = {folder}/copies\n'
)
_SPARE = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>
<memballoon model='none'/></devices></domain>"""


class Victim(Program):
    """A program that can be started so that it dies at a failpoint."""

    rules: str | None = None

    def variables(self) -> dict[str, str]:
        return super().variables() | ({failpoints.VARIABLE: self.rules} if self.rules else {})

    def arm(self, rules: str | None) -> None:
        """Start it anew with rules, whether it runs or not."""
        self.rules = rules
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.start()


class Deployment(distributed.Deployment):
    """Everything, with a compute host.

    :param folder: for all that is written.
    """

    guest: Guest
    libvirt: Any

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self.apis = [Victim('multiattach-api', one.config, 'multiattach-api is ready') for one in self.apis]
        self.workers = [Victim('multiattach-volume', one.config, ' is ready') for one in self.workers]
        self.agent = Victim('multiattach-host', folder / 'compute.conf', ' is ready')
        self._uri = ''
        self.glance = Glance(folder / 'glance')
        self.glance_api = ImageApi(session.Session(), None, [self.glance.url])

    @contextlib.contextmanager
    def run(self) -> Iterator['Deployment']:
        """Bring it up, and down again whatever happens."""
        # Not pytest's folder: the path of a Unix socket has a limit.
        with tempfile.TemporaryDirectory(prefix='ma-fp-') as name, Libvirtd(pathlib.Path(name) / 'lv') as daemon:
            self._uri = daemon.uri
            self.libvirt = daemon.connect()
            self.guest = Guest.define(self.libvirt, 'guest', pathlib.Path(name) / 'guest')
            self.guest.start()
            with super().run():
                self.agent.start()
                try:
                    self.guest.wait_ready()
                    self.agent.wait_ready()
                    yield self
                    assert self.agent.stop() == 0
                finally:
                    self.agent.stop()
            self.guest.destroy()
            self.libvirt.close()
            self.glance.stop()

    def _configure(self) -> None:
        super()._configure()
        more = _MORE.format(redis=self.redis.url, folder=self.folder, glance=self.glance.url)
        text = self.workers[0].config.read_text().replace('host = left', 'host = compute')
        self.agent.config.touch(0o600)
        self.agent.config.write_text(text)
        for program in (*self.apis, *self.workers, self.agent):
            with program.config.open('a') as out:
                out.write(more)
        with self.agent.config.open('a') as out:
            out.write(
                f'[host_agent]\nconnector = qemu\nlibvirt_uri = {self._uri}\nproject_id = {PROJECT}\n'
                'detach_timeout = 20\n'
            )

    def victims(self) -> list[Victim]:
        """List all that can be killed."""
        return [*self.apis, *self.workers, self.agent]  # type: ignore[list-item]

    def heal(self) -> None:
        """Have all programs run as they should."""
        for victim in self.victims():
            if victim.is_dead or victim.rules:
                victim.arm(None)
        for victim in self.victims():
            victim.wait_ready()

    def make_image(self, data: bytes) -> str:
        """Make a raw image, in the Image service that is started for it; returns its id."""
        self.glance.start()
        made = self.glance_api.create({'name': 'of a test', 'disk_format': 'raw', 'container_format': 'bare'})
        self.glance_api.upload(made.id, data)
        return made.id

    # -- servers -------------------------------------------------------------------------------

    @property
    def server_id(self) -> str:
        return str(self.guest.domain.UUIDString())

    def define_spare(self) -> Any:
        """Define a server that is not running; the caller undefines it."""
        return self.libvirt.defineXML(_SPARE.format(name=f'spare-{os.urandom(4).hex()}'))

    def disks(self) -> set[str]:
        """List the serial numbers (ids of volumes) of the guest's disks."""
        root = ElementTree.fromstring(self.guest.domain.XMLDesc())
        return {found.text or '' for found in root.findall('./devices/disk/serial')}

    def check_host(self) -> None:
        """Compare the rows with the guest's disks, and with libvirt's secrets."""
        wished = {
            row[0]
            for row in self.query(
                "SELECT volume_id FROM attachments WHERE deleted_at IS NULL AND state = 'attached' "
                'AND instance_uuid = %s',
                self.server_id,
            )
        }
        assert self.disks() == wished
        assert len(self.libvirt.listAllSecrets()) == len(wished)

    def check_storage(self) -> None:
        """Compare the rows with the files."""
        for name, folder in (('file', 'volumes'), ('copy', 'copies')):
            like = f'%@{name}'
            wished = {
                f'volume-{row[0]}'
                for row in self.query('SELECT id FROM volumes WHERE deleted_at IS NULL AND host LIKE %s', like)
            } | {
                f'snapshot-{row[0]}'
                for row in self.query(
                    'SELECT snapshots.id FROM snapshots JOIN volumes ON volumes.id = volume_id '
                    'WHERE snapshots.deleted_at IS NULL AND host LIKE %s',
                    like,
                )
            }
            assert {path.name for path in (self.folder / folder).iterdir()} == wished

    def list_open(self) -> list[Any]:
        """List what somebody of the service is to go on with."""
        return [
            *self.query(
                "SELECT id, state FROM attachments WHERE deleted_at IS NULL AND (state IN ('exporting', "
                "'unexporting', 'fencing', 'connecting', 'detaching') OR (agent_host IS NOT NULL AND state IN "
                "('reserved', 'exported')))"
            ),
            *self.query(
                "SELECT id, status FROM volumes WHERE deleted_at IS NULL AND status IN ('creating', "
                "'deleting', 'downloading', 'extending', 'managing', 'reverting', 'unmanaging', 'uploading')"
            ),
            *self.query(
                "SELECT id, status FROM snapshots WHERE deleted_at IS NULL AND status IN ('creating', 'deleting')"
            ),
            *self.query('SELECT id, state FROM volume_migrations WHERE deleted_at IS NULL'),
            *self.query(
                "SELECT id, state FROM attachments WHERE state = 'fenced' AND agent_host IS NOT NULL "
                'AND swept_at IS NULL AND deleted_at IS NULL'
            ),
        ]

    def wait_settled(self, seconds: float) -> None:
        """Wait until nobody has a step to take."""
        wait_until(lambda: not self.list_open(), seconds, lambda: f'the end of all steps: {self.list_open()}')
