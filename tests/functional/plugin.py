# SPDX-License-Identifier: Apache-2.0
"""The real ``openstack`` command with this service's plugin, and a session of it for any deployment.

:func:`play` needs two servers of host agents and admin credentials, and nothing of how the deployment is
made; so other suites may call it with theirs.
"""

import dataclasses
import json
import os
import subprocess
import uuid
from collections.abc import Mapping
from typing import Any

from tests.deployments.programs import BIN
from tests.testbed.polling import wait_until

WARNING = 'ext4, XFS and NTFS are file systems for one server'


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, parsed."""
        assert self.code == 0, self
        return json.loads(self.out)


class Openstack:
    """Runs ``openstack`` in a process of its own.

    :param options: global options of each command.
    :param environment: besides the machine's, without its ``OS_…``.
    """

    def __init__(self, options: list[str], environment: Mapping[str, str]) -> None:
        self._options = options
        kept = {key: value for key, value in os.environ.items() if not key.startswith('OS_')}
        # The commands' own output is compared; libraries' notes on the interpreter are not.
        self._environment = {**kept, 'PYTHONWARNINGS': 'ignore', **environment}

    def run(self, *words: str) -> Done:
        """Run a command."""
        done = subprocess.run(
            [str(BIN / 'openstack'), *self._options, *words],
            env=self._environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ask(self, *words: str) -> Any:
        """Run a command that prints JSON."""
        return self.run(*words, '-f', 'json').json

    def do(self, *words: str) -> Done:
        """Run a command that works."""
        done = self.run(*words)
        assert done.code == 0, done
        return done

    def plugin(self, words: str, *more: str) -> Done:
        """Run a command of the plugin."""
        return self.run('multiattach', *words.split(), *more)


def play(cloud: Openstack, first: str, second: str) -> None:
    """Share a volume between two servers, look at it from all sides, and take it away.

    :param cloud: the command, with an admin's credentials.
    :param first: name or id of a server.
    :param second: the same of another one.
    """
    kind = f'shared-{uuid.uuid4()}'
    name = f'data-{uuid.uuid4()}'
    cloud.do('volume', 'type', 'create', '--property', 'multiattach=<is> True', kind)
    volume = cloud.ask('volume', 'create', '--size', '1', '--type', kind, name)['id']
    wait_until(lambda: cloud.ask('volume', 'show', volume)['status'] == 'available', 60, 'a volume', 0.2)

    attach = ('multiattach', 'server', 'volume', 'attach')
    one = cloud.run(*attach, first, name, '--wait', '-f', 'json')
    assert (one.json['status'], one.json['mode'], one.json['volume_id']) == ('attached', 'rw', volume)
    assert WARNING not in one.err
    assert 'attached' in one.err  # how far it is
    two = cloud.run(*attach, second, name, '--mode', 'ro', '--wait', '-f', 'json')
    assert (two.json['status'], two.json['mode']) == ('attached', 'ro')
    assert ' '.join(two.err.split()).count(WARNING) == 1

    explained = cloud.run('multiattach', 'volume', 'explain', name, '-f', 'json')
    assert ' '.join(explained.err.split()).count(WARNING) == 1
    shown = explained.json
    assert (shown['status'], shown['next_step_of'], len(shown['attachments'])) == ('in-use', 'nobody', 2)
    timeline = cloud.ask('multiattach', 'attachment', 'explain', one.json['attachment_id'])['timeline']
    assert [step['to'] for step in timeline] == ['reserved', 'exporting', 'exported', 'connecting', 'attached']
    assert all(step['error'] is None for step in timeline)

    [row] = [row for row in cloud.ask('multiattach', 'server', 'volume', 'list', second) if row['Volume ID'] == volume]
    assert (row['Mode'], row['Status'], row['Attachment ID']) == ('ro', 'attached', two.json['attachment_id'])
    [target] = [row for row in cloud.ask('multiattach', 'target', 'list') if row['Volume ID'] == volume]
    assert (target['Exists'], target['LUNs'], target['Differences']) == (True, 1, [])
    target = cloud.ask('multiattach', 'target', 'show', name)
    host = cloud.ask('multiattach', 'attachment', 'explain', one.json['attachment_id'])['host']
    about = cloud.ask('multiattach', 'host', 'show', host)
    assert about['state'] == 'up'
    assert set(target['initiators']) & set(about['initiators'])
    assert host in [row['Host'] for row in cloud.ask('multiattach', 'host', 'list')]

    for server in (first, second):
        cloud.do('multiattach', 'server', 'volume', 'detach', server, name, '--wait')
    gone = cloud.ask('multiattach', 'attachment', 'explain', one.json['attachment_id'])
    assert (gone['state'], gone['next_step_of']) == ('detached', 'nobody')
    assert cloud.ask('multiattach', 'target', 'show', name)['exists'] is False
    cloud.do('volume', 'delete', name)
    wait_until(lambda: cloud.run('volume', 'show', volume).code, 60, 'the end of a volume', 0.2)
    cloud.do('volume', 'type', 'delete', kind)
