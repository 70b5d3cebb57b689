# SPDX-License-Identifier: Apache-2.0
"""Contents replaced by those of an image: all or none, and whoever waits is told."""

import http.server
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from keystoneauth1 import adapter, noauth, session

from multiattach.domain import errors
from multiattach.drivers.nova.events import NovaEvents
from multiattach.engine.snapshots import SnapshotWish
from tests.functional.images.cloud import MIB, Cloud, make_disk

SERVER = '33333333-3333-4333-8333-333333333333'
OLD = b'of before'


class Compute:
    """Takes events as the Compute API does, and keeps them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        events = self.events

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                events.extend({**one, 'version': self.headers['OpenStack-API-Version']} for one in body['events'])
                reply = json.dumps({'events': [{**one, 'code': 200} for one in body['events']]}).encode()
                self.send_response(200)
                self.send_header('Content-Length', str(len(reply)))
                self.send_header('Content-Type', 'application/json')
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_args: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}/v2.1'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def compute(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compute]:
    made = Compute()
    client = adapter.Adapter(session.Session(noauth.NoAuth()), service_type='compute', endpoint_override=made.url)
    monkeypatch.setattr(cloud.deployed.worker._storage._images, '_nova', NovaEvents(client))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def volume(cloud: Cloud) -> str:
    ident = cloud.deployed.make_volume()
    with cloud.path(ident).open('r+b') as file:
        file.write(OLD)
    return ident


def reimage(cloud: Cloud, volume: str, image: str, *, reserved: bool = False) -> None:
    cloud.deployed.engine.image_actions.reimage(cloud.deployed.ctx, volume, image, reserved_allowed=reserved)
    cloud.deployed.wait(lambda: cloud.deployed.status(volume) != 'downloading', 60)


def reserve(cloud: Cloud, volume: str) -> str:
    return cloud.deployed.engine.attachments.create(cloud.deployed.ctx, volume, SERVER, None, None).id


def read(cloud: Cloud, volume: str, size: int) -> bytes:
    with cloud.path(volume).open('rb') as file:
        return file.read(size)


def test_all_is_replaced(cloud: Cloud, volume: str, folder: pathlib.Path) -> None:
    data = make_disk(folder)
    cloud.deployed.engine.settings.set_image_metadata(cloud.deployed.ctx, volume, {'hw_old': 'x'})
    reimage(cloud, volume, cloud.make_image(data, hw_new='y'))
    found = cloud.deployed.engine.volumes.show(cloud.deployed.ctx, volume)
    assert (found.status, found.bootable) == ('available', True)
    assert found.image_metadata['hw_new'] == 'y'
    assert 'hw_old' not in found.image_metadata
    assert read(cloud, volume, len(data)) == data
    assert sorted(path.name for path in cloud.path(volume).parent.glob(f'*{volume}*')) == [f'volume-{volume}']


def test_nova_is_told_when_it_waits(cloud: Cloud, volume: str, compute: Compute) -> None:
    attachment = reserve(cloud, volume)
    reimage(cloud, volume, cloud.make_image(bytes(MIB)), reserved=True)
    assert cloud.deployed.status(volume) == 'reserved'
    cloud.deployed.wait(lambda: compute.events)
    assert compute.events == [
        {
            'name': 'volume-reimaged',
            'server_uuid': SERVER,
            'tag': volume,
            'status': 'completed',
            'version': 'compute 2.93',
        }
    ]
    cloud.deployed.engine.attachments.delete(cloud.deployed.ctx, attachment)


def test_an_image_that_cannot_be_used_changes_nothing(cloud: Cloud, volume: str, compute: Compute) -> None:
    attachment = reserve(cloud, volume)
    image = cloud.make_image(b'a' * MIB)
    (cloud.glance.images / image).write_bytes(b'b' * MIB)
    reimage(cloud, volume, image, reserved=True)
    assert cloud.deployed.status(volume) == 'error'
    assert cloud.read_message(volume).startswith(f'reimage volume: Image {image} is damaged')
    assert read(cloud, volume, len(OLD)) == OLD
    cloud.deployed.wait(lambda: compute.events)
    assert [event['status'] for event in compute.events] == ['failed']
    # As Nova does when a person rebuilds the server again.
    reimage(cloud, volume, cloud.make_image(bytes(MIB)), reserved=True)
    assert cloud.deployed.status(volume) == 'reserved'
    cloud.deployed.engine.attachments.delete(cloud.deployed.ctx, attachment)


def test_what_is_refused(cloud: Cloud, volume: str) -> None:
    image, ctx, engine = cloud.make_image(bytes(MIB)), cloud.deployed.ctx, cloud.deployed.engine
    with pytest.raises(errors.InvalidInput, match='minDisk size 2GB'):
        reimage(cloud, volume, cloud.make_image(bytes(MIB), min_disk=2))
    with pytest.raises(errors.NotFound, match='could not be found'):
        reimage(cloud, volume, SERVER)
    # What Nova makes of a server that boots from a volume; the volume would be empty afterwards.
    mapping = json.dumps([{'source_type': 'snapshot', 'boot_index': 0, 'snapshot_id': SERVER, 'volume_size': 1}])
    with pytest.raises(errors.InvalidInput, match=f'no data of its own: it stands for snapshot {SERVER} .* or revert'):
        reimage(cloud, volume, cloud.make_image(b'', block_device_mapping=mapping, bdm_v2='True'))
    assert (cloud.deployed.status(volume), read(cloud, volume, len(OLD))) == ('available', OLD)
    attachment = reserve(cloud, volume)
    with pytest.raises(errors.InvalidVolume, match='status must be available or error, but current status is reserved'):
        reimage(cloud, volume, image)
    engine.attachments.complete(ctx, attachment)
    with pytest.raises(errors.InvalidVolume, match='current status is in-use'):
        reimage(cloud, volume, image, reserved=True)
    engine.attachments.delete(ctx, attachment)
    cloud.deployed.wait(lambda: cloud.deployed.status(volume) == 'available')
    snapshot = engine.snapshots.create(ctx, SnapshotWish(volume, 'x', None))
    cloud.deployed.wait(lambda: engine.snapshots.show(ctx, snapshot.id).status == 'available')
    with pytest.raises(errors.InvalidVolume, match='it has snapshots'):
        reimage(cloud, volume, image)
    assert cloud.deployed.status(volume) == 'available'


def test_several_servers_have_it(cloud: Cloud) -> None:
    cloud.deployed.make_type('several')
    volume = cloud.deployed.make_volume('several')
    image = cloud.make_image(bytes(MIB))
    for number in (4, 5):
        cloud.deployed.engine.attachments.create(cloud.deployed.ctx, volume, f'{number}' + SERVER[1:], None, None)
    with pytest.raises(errors.Conflict, match='more than one server'):
        reimage(cloud, volume, image, reserved=True)
