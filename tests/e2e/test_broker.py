# SPDX-License-Identifier: Apache-2.0
"""Messages only say that there is something to do: without a broker it is done all the same."""

from tests.deployments import two_hosts
from tests.e2e import facts


def test_attach_without_broker(cloud: two_hosts.Deployment, volume: str) -> None:
    broker = cloud.cluster.rabbitmq
    broker.halt()
    try:
        cloud.request_attach(cloud.far, volume)
        device = cloud.wait_attached(cloud.far, volume)
    finally:
        broker.start()
    facts.check_disk(cloud.hosts[1], cloud.far, volume)
    cloud.far.write_block(device, 10, b'nobody was told')
    assert cloud.far.read_block(device, 10).startswith(b'nobody was told')
    cloud.detach(cloud.far, volume)
