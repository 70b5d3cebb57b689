# SPDX-License-Identifier: Apache-2.0
"""The machine that a guide is typed into: controller, storage host and compute host in one.

Taken as given: Keystone, names and addresses, a clone of the repository, two servers. Where the kernel has neither
device-mapper nor iSCSI, the guide's other choices are made: volumes as files, and QEMU that logs in itself.
"""

import json
import pathlib
import shutil
from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.guides.terminal import Terminal
from tests.guides.text import TOP, Block
from tests.testbed import libvirtd, processes
from tests.testbed.debian import Debian
from tests.testbed.guest import Guest
from tests.testbed.initramfs import build_guest_image
from tests.testbed.kernel import fetch_kernel
from tests.testbed.keystone import Keystone
from tests.testbed.polling import wait_until

INSTALL = TOP / 'doc/source/install/install.rst'
UPGRADE = TOP / 'doc/source/admin/upgrade.rst'
CLONE = '/root/multiattach'
CONF = '/etc/multiattach/multiattach.conf'
_HOSTS = {
    'controller': '192.0.2.10',
    'volume.example.org': '192.0.2.10',
    'storage': '192.0.2.20',
    'compute': '192.0.2.30',
}
# What belongs to another choice than the one made here, by how it begins.
_OTHER_CHOICES = (
    'apt-get install -y postgresql',  # MariaDB is there
    'apt-get install -y lvm2',  # volumes are files
    '[cinder]',  # no Nova is there
    "sed -i '/^node\\.session",  # QEMU logs in itself
    'systemctl stop multiattach-api multiattach-volume multiattach-host\nrabbitmqctl delete_vhost',  # no queue is wrong
)
_IMAGES = pathlib.Path('/var/lib/libvirt/images')
# For a server's shell, until an error, in a folder that Guest has no file in. A growing number goes into a block, ...
_WRITE = """\
mkdir -p /tmp/sharing && cd /tmp/sharing
number=0
while [ ! -e error ]; do
    number=$((number + 1))
    printf '%-4096s' $number >number
    dd if=number of={disk} bs=4096 seek=64 oflag=direct conv=notrunc 2>said || cp said error
    echo $number >next && mv next seen
    sleep 0.5
done"""
# ... and is read from there; it may never shrink.
_READ = """\
mkdir -p /tmp/sharing && cd /tmp/sharing
number=0
while [ ! -e error ]; do
    before=$number
    number=$(dd if={disk} bs=4096 skip=64 count=1 iflag=direct 2>said) || cp said error
    [ $number -ge $before ] 2>>said || echo "$number after $before" >>error
    echo $number >next && mv next seen
    sleep 0.5
done"""


def choose(blocks: list[Block]) -> list[Block]:
    """Leave out what belongs to other choices; each of them is on the page.

    :param blocks: of the install guide
    """
    others = [block for block in blocks if block.text.startswith(_OTHER_CHOICES)]
    assert len(others) == len(_OTHER_CHOICES), others
    return [block for block in blocks if block not in others]


class Machine:
    """A clean system with a clone of the repository, the shell that a person has there, and servers.

    :param folder: for logs
    :param hosts: name → address, as of testbed.debian
    """

    def __init__(self, folder: pathlib.Path, hosts: Mapping[str, str]) -> None:
        self.folder = folder
        self.host = Debian(folder, hosts)
        self.shell: Terminal
        self.guests: dict[str, Guest] = {}
        #: the commit that is tested
        self.head = ''
        self.volume_id = ''
        self._written = 0
        self._shells: list[Terminal] = []
        self._connection: Any = None

    def start(self, revision: str = 'HEAD') -> None:
        """Boot it, with a clone of the repository.

        :param revision: that is checked out there
        """
        self.host.start()
        work = self.folder / 'clone'
        processes.run(['git', 'clone', '-q', '--no-hardlinks', TOP, work])
        git = ['git', '-C', str(work)]
        self.head = processes.run([*git, 'rev-parse', 'HEAD']).strip()
        processes.run([*git, 'checkout', '-q', revision])
        shutil.move(work, self.host.reach(CLONE))
        self.shell = self.log_in()

    def log_in(self) -> Terminal:
        """Open one more shell in the clone."""
        self._shells.append(Terminal(self.host, CLONE, self.folder / f'terminal{len(self._shells)}'))
        return self._shells[-1]

    def stop(self) -> None:
        """End all; what was typed and shown, and what services said, is shown with a failure."""
        for shell in self._shells:
            shell.close()
            print(shell.log.read_text())
        if self.host.is_up():
            print(self.host.run("journalctl --no-pager -n 400 -u 'multiattach-*' -u tgt -u libvirtd -u mariadb")[1])
        if self._connection is not None:
            self._connection.close()
        for guest in self.guests.values():
            guest.console.close()
        self.host.stop()

    def start_servers(self, *names: str) -> None:
        """Start small servers under the machine's libvirt.

        :param names: of them
        """
        kernel = fetch_kernel('cloud')
        image = build_guest_image(kernel)
        here = {str(kernel.vmlinux): _IMAGES / 'vmlinux', str(image): _IMAGES / 'initrd'}
        for path, there in here.items():
            shutil.copy(path, self.host.reach(there))
        socket = self.host.reach('/run/libvirt/libvirt-sock')
        self._connection = self._connection or libvirtd.connect(f'qemu+unix:///system?socket={socket}')
        for name in names:
            guest = Guest.define(self._connection, name, _IMAGES / name, place=self.host)
            xml = guest.domain.XMLDesc()
            for path, there in here.items():
                xml = xml.replace(path, str(there))
            self._connection.defineXML(xml)
            self.host.check(f'chown -R libvirt-qemu: {_IMAGES}/{name}')
            guest.start()
            self.guests[name] = guest
        for name in names:
            self.guests[name].wait_ready()

    def start_sharing(self, writer: str, reader: str) -> None:
        """Have one server write numbers to the volume, and another one read them, from now on.

        :param writer: its name
        :param reader: its name
        """
        for name, loop in ((writer, _WRITE), (reader, _READ)):
            disk = self.guests[name].wait_for_disk(self.volume_id, 180)
            code, said = self.guests[name].run(f'({loop.format(disk=disk)}) </dev/null >/dev/null 2>&1 &')
            assert code == 0, said
            wait_until(partial(self._read_number, name), 60, f'a number in {name}', 0.5)

    def check_sharing(self, writer: str, reader: str) -> None:
        """See that both have gone on without an error, and that the reader has what is written from now on.

        :param writer: its name
        :param reader: its name
        """
        written = self._read_number(writer)
        wait_until(lambda: self._read_number(writer) > written, 120, f'a number by {writer}', 0.5)
        wait_until(lambda: self._read_number(reader) > written, 120, f'a number in {reader}', 0.5)

    def _read_number(self, name: str) -> int:
        failed, said = self.guests[name].run('! cat /tmp/sharing/error 2>/dev/null')
        assert not failed, said
        return int(self.guests[name].run('cat /tmp/sharing/seen 2>/dev/null || echo 0')[1])

    def check_shared(self, writer: str, reader: str) -> None:
        """See that one server reads from the volume what another one wrote.

        :param writer: its name
        :param reader: its name
        """
        self._written += 1
        text = f'{writer} wrote {self._written}'.encode()
        source, sink = (self.guests[name].wait_for_disk(self.volume_id, 180) for name in (writer, reader))
        self.guests[writer].write_block(source, self._written, text)
        assert self.guests[reader].read_block(sink, self._written).rstrip(b'\0') == text


class Deployment(Machine):
    """The machine of the installation guide.

    :param folder: for logs
    :param keystone: the deployment's
    """

    def __init__(self, folder: pathlib.Path, keystone: Keystone) -> None:
        super().__init__(folder, _HOSTS)
        self.keystone = keystone
        project = keystone.accounts['admin'].project_id
        self.replaced = {
            'EXTRAS': 'mysql,uwsgi,client,host',
            'https://identity.example.org/v3': keystone.url,
            "the id of the project that this host's servers belong to": project,
            'driver = lvm\nvolume_group = multiattach-volumes': 'driver = file',
            '# where the kernel has no iSCSI, QEMU logs in itself: connector': 'connector',
        }

    def start(self, revision: str = 'HEAD') -> None:
        """See Machine."""
        super().start(revision)
        self.host.serve(self.keystone.port)

    def fit(self, text: str) -> str:
        """Put this machine's names into a text of the guide."""
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def follow(self, block: Block) -> str:
        """Type a block of commands, or write what it says into the configuration file.

        :param block: of a guide
        :returns: what was shown
        """
        text = self.fit(block.text)
        if block.kind == 'ini':
            with self.host.reach(CONF).open('a') as conf:
                conf.write(f'\n{text}')
            return ''
        assert block.kind == 'shell', block
        return self.shell.type(text)

    def follow_install(self, block: Block) -> None:
        """Follow a block of the install guide, and bring what is given by then.

        :param block: of the guide
        """
        if block.section == 'Keystone':
            self._become_admin()
        if block.section == 'The first volume':
            self.start_servers('one', 'two')
        self.follow(block)
        if block.section == 'The first volume':
            self.wait_attached('one', 'two')

    def wait_attached(self, *names: str) -> None:
        """Wait until the volume is attached to exactly these servers.

        :param names: of the servers
        """
        wanted = {self.guests[name].domain.UUIDString() for name in names}

        def is_so() -> bool:
            shown = json.loads(self.shell.type('openstack volume show shared -f json'))
            self.volume_id = shown['id']
            return shown['status'] == 'in-use' and {row['server_id'] for row in shown['attachments']} == wanted

        wait_until(is_so, 180, f'attachments of {names}', 1)

    def _become_admin(self) -> None:
        """Put an admin's credentials into the environment."""
        account = self.keystone.accounts['admin']
        words = {
            'OS_AUTH_URL': self.keystone.url,
            'OS_USERNAME': account.name,
            'OS_PASSWORD': account.password,
            'OS_PROJECT_NAME': account.project,
            'OS_USER_DOMAIN_NAME': 'Default',
            'OS_PROJECT_DOMAIN_NAME': 'Default',
            'OS_IDENTITY_API_VERSION': '3',
            'OS_CACERT': '/etc/multiattach/tls/certificate.pem',
        }
        self.shell.type(' '.join(['export', *(f'{name}={value}' for name, value in words.items())]))
