# SPDX-License-Identifier: Apache-2.0
"""The commands and files of doc/source/install/install.rst, run on a machine of the tests."""

import pathlib
import re
import subprocess

from tests.devstack.machine import BIN, TOP, Devstack
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

GUIDE = TOP / 'doc/source/install/install.rst'
# What is there already, or is another machine's business.
_SHELL = r"""
set -e
function apt-get { :; }
function mariadb { command mariadb --no-defaults --socket="$DATABASE_SOCKET" --user=root "$@"; }
function rabbitmqctl { env $RABBITMQ /usr/lib/rabbitmq/bin/rabbitmqctl --quiet "$@"; }
"""


def read_blocks(title: str) -> list[str]:
    """Read the literal blocks of a section.

    :param title: of the section.
    :returns: their text, without the indentation.
    """
    text = GUIDE.read_text()
    found = re.search(rf'^{re.escape(title)}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}$|\Z)', text, re.M | re.S)
    assert found, f'the guide has no section {title}'
    blocks, lines = [], found[1].splitlines()
    for number, line in enumerate(lines):
        if line.endswith('::') or line.startswith('.. code-block::'):
            block: list[str] = []
            for inner in lines[number + 1 :]:
                if inner and not inner.startswith('    '):
                    break
                block.append(inner[4:])
            blocks.append('\n'.join(block).strip() + '\n')
    return blocks


class Guide:
    """What the guide leads to: one machine that is controller, storage host and compute host.

    :param machine: with the servers.
    """

    def __init__(self, machine: Devstack) -> None:
        self.machine = machine
        self.port, self.portal = pick_port(), pick_port()
        self.home = machine.folder / 'guide'
        self.conf = self.home / '.multiattach/multiattach.conf'  # where oslo.config looks, too
        self.conf.parent.mkdir(parents=True)
        self._programs: list[subprocess.Popen[bytes]] = []
        project = machine.keystone.accounts['member'].project_id
        self._replaced = {
            'https://volume.example.org': f'http://127.0.0.1:{self.port}',
            'https://identity.example.org/v3': machine.keystone.url,
            '@controller:5672/': f'@127.0.0.1:{machine.broker.port}/',
            '@controller/': f'@127.0.0.1:{machine.database.port}/',
            '/opt/multiattach/bin/': f'{BIN}/',
            '/opt/multiattach/etc/multiattach/': f'{TOP}/etc/multiattach/',
            '192.0.2.20:3260': f'127.0.0.1:{self.portal}',
            '192.0.2.30': '127.0.0.1',
            "the id of the project that this host's servers belong to": project,
            # There is no volume group to spare.
            'driver = lvm\nvolume_group = multiattach-volumes': 'driver = file',
        }
        broker = pathlib.Path(f'/proc/{machine.broker.daemons[-1].pid}/environ').read_bytes()
        self.env = machine.env | {
            'HOME': str(self.home),
            'OS_CLOUD': 'devstack-admin',
            'DATABASE_SOCKET': str(machine.database.socket_path),
            'RABBITMQ': ' '.join(
                word
                for word in broker.decode().split('\0')
                if re.match(r'(HOME|RABBITMQ_NODENAME|ERL_\w+|LC_ALL)=\S+$', word)
            ),
        }

    def fit(self, text: str) -> str:
        """Put this machine's names into a text of the guide."""
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        return text

    def run(self, script: str, **env: str) -> str:
        """Run commands of the guide; the first that fails ends it.

        :param script: the commands.
        :param env: further variables.
        :returns: what they print.
        """
        done = subprocess.run(
            ['bash', '-c', _SHELL + self.fit(script)],
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f'{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
        return done.stdout

    def write_configuration(self) -> None:
        """Write the file of all three kinds of machine."""
        blocks = [block for block in read_blocks('Configuration') if block.startswith('[')]
        assert len(blocks) == 4
        self.conf.touch(0o600)
        # What this machine lacks: a tgtd that runs, a kernel with iSCSI, the system's libvirt, systemd
        # (which would name the folders of the units, too).
        state = f'state_path = {self.home}/state\n'
        text = self.fit('\n'.join(blocks)).replace('[DEFAULT]\n', f'[DEFAULT]\n{state}')
        assert state in text
        self.conf.write_text(
            text.replace(
                '[host_agent]', (f'[host_agent]\nconnector = qemu\nlibvirt_uri = {self.machine.libvirtd.uri}')
            ).replace('[tgt]', '[tgt]\nprivate = true')
        )

    def start(self) -> None:
        """Start what the units start."""
        sample = self.home / 'uwsgi.ini'
        sample.write_text(
            (TOP / 'etc/multiattach/uwsgi.ini').read_text().replace('127.0.0.1:8776', f'127.0.0.1:{self.port}')
        )
        for argv in ([BIN / 'uwsgi', '--ini', sample], [BIN / 'multiattach-volume'], [BIN / 'multiattach-host']):
            self._programs.append(processes.spawn(argv, self.home / f'{argv[0].name}.log', env=self.env))
        wait_until(self._answers, 90, 'the API')

    def _answers(self) -> bool:
        for program in self._programs:
            assert program.poll() is None, self.read_logs()
        return (
            subprocess.run(
                ['curl', '-s', '--noproxy', '*', '--fail', f'http://127.0.0.1:{self.port}/healthcheck'],
                check=False,
                capture_output=True,
            ).returncode
            == 0
        )

    def read_logs(self) -> str:
        """What the programs said last."""
        return '\n'.join(f'{log.name}:\n{processes.tail(log)}' for log in self.home.glob('*.log'))

    def stop(self) -> None:
        """End the programs, and take away what the guide has registered."""
        for program in self._programs:
            processes.stop(program)
        print(self.read_logs())
        identity = self.machine.keystone.identity
        for kind in ('block-storage', 'volumev3', 'compute'):
            identity.unregister(kind)
        for user in identity.ask('GET', '/users?name=multiattach')['users']:
            identity.ask('DELETE', f'/users/{user["id"]}')
        self.machine.database.create_database('multiattach')
        subprocess.run(
            [
                'mariadb',
                '--no-defaults',
                f'--socket={self.env["DATABASE_SOCKET"]}',
                '--user=root',
                '-e',
                'DROP DATABASE multiattach',
            ],
            check=True,
        )
