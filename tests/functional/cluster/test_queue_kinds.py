# SPDX-License-Identifier: Apache-2.0
"""A queue cannot change its kind: a worker whose queue is of the other kind says what to do."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.deployments import surroundings
from tests.deployments.programs import BIN, make_environment
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.servers import RabbitMQ, pick_port

pytestmark = pytest.mark.slow  # a broker of its own, restarted each time
KINDS = {'classic': '', 'quorum': 'rabbit_quorum_queue = true\namqp_durable_queues = true\n'}


@pytest.fixture(scope='module')
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp('kinds'), management_port=pick_port()) as server:
        yield server


@pytest.fixture
def url(broker: RabbitMQ, tmp_path: pathlib.Path) -> str:
    """A virtual host without queues."""
    facts = {'broker': {'url': broker.url, 'management': broker.management_url}}
    return surroundings.Surroundings(facts).make_message_space(tmp_path)


class Worker:
    """A volume worker without a target, in a folder of its own."""

    def __init__(self, folder: pathlib.Path, url: str) -> None:
        self.log = folder / 'log'
        self.config = folder / 'multiattach.conf'
        self._text = (
            f'[DEFAULT]\nhost = here\nstate_path = {folder}\ntransport_url = {url}\n'
            f'[database]\nconnection = sqlite:///{folder}/x.sqlite\n[file]\ntarget_driver = null\n'
            '[oslo_messaging_rabbit]\n'
        )
        self.config.touch(0o600)
        self.config.write_text(self._text)
        processes.run([BIN / 'multiattach-manage', '--config-file', self.config, 'db', 'sync'], env=make_environment())

    def run(self, kind: str) -> tuple[int, str]:
        """Start it and, as soon as it is ready, end it.

        :returns: exit code and what it said.
        """
        self.config.write_text(self._text + KINDS[kind])
        self.log.unlink(missing_ok=True)
        command = [str(BIN / 'multiattach-volume'), '--config-file', str(self.config)]
        process = processes.spawn(command, self.log, env=make_environment())
        try:
            wait_until(
                lambda: process.poll() is not None or b' is ready' in self.log.read_bytes(), 60, 'the worker', 0.1
            )
        finally:
            processes.stop(process)
        return process.returncode, self.log.read_text()


@pytest.mark.parametrize(
    ('first', 'then', 'refused'),
    [
        ('classic', 'quorum', "'x-queue-type' for queue 'multiattach-fence'"),
        pytest.param('quorum', 'classic', "'durable' for exchange 'openstack'", marks=pytest.mark.slow),
    ],
)
def test_a_queue_of_the_other_kind(
    broker: RabbitMQ, url: str, tmp_path: pathlib.Path, first: str, then: str, refused: str
) -> None:
    worker = Worker(tmp_path, url)
    code, said = worker.run(first)
    assert (code, 'is ready' in said) == (0, True), said
    code, said = worker.run(then)
    assert code == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith('multiattach-volume: ')]
    for words in (
        'rabbit_quorum_queue',
        'amqp_durable_queues',
        '[oslo_messaging_rabbit]',
        'transport_url',
        refused,
        'rabbitmqctl delete_vhost',
    ):
        assert words in line
    assert broker.password not in said
    assert 'unexpected' not in said
    assert worker.run(first)[0] == 0  # what worked before still does
