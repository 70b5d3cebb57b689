# SPDX-License-Identifier: Apache-2.0
"""A control plane with a real Glance, and images of all kinds."""

import contextlib
import hashlib
import os
import pathlib
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from keystoneauth1 import session

from multiattach.db import models
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.glance.client import ImageApi
from multiattach.engine.volumes import VolumeWish
from tests.deployments.embedded import Deployment, deploy
from tests.testbed.glance import Glance
from tests.testbed.relay import PortRelay

MIB = 1 << 20
# What is not done is tried twice, at once.
IMPATIENT = LeaseRules(duration=0.0, pause=0.0, max_attempts=2)


class Cloud:
    def __init__(self, deployed: Deployment, glance: Glance) -> None:
        self.deployed = deployed
        self.glance = glance
        self.api = ImageApi(session.Session(), None, [glance.url])

    def make_image(self, data: bytes | None, disk_format: str = 'raw', **properties: Any) -> str:
        """Make an image; without data it stays queued."""
        made = self.api.create(
            {'name': 'an image', 'disk_format': disk_format, 'container_format': 'bare', **properties}
        )
        if data is not None:
            self.api.upload(made.id, data)
        return made.id

    def smuggle_image(self, data: bytes, disk_format: str) -> str:
        """Make an image that this Glance would not take: an older one, or one with other settings, may have it."""
        image = self.make_image(b'x' * len(data))
        (self.glance.images / image).write_bytes(data)
        with contextlib.closing(sqlite3.connect(self.glance.folder / 'glance.sqlite')) as database, database:
            database.execute(
                'UPDATE images SET disk_format = ?, virtual_size = NULL, os_hash_value = ?, checksum = ? WHERE id = ?',
                [disk_format, hashlib.sha512(data).hexdigest(), hashlib.md5(data).hexdigest(), image],
            )
        return image

    def begin(self, image: str, size: int | None = 1, **wish: Any) -> str:
        return self.deployed.engine.volumes.create(self.deployed.ctx, VolumeWish(size, image_ref=image, **wish)).id

    def create(self, image: str, size: int | None = 1, **wish: Any) -> str:
        """Make a volume of an image, whatever comes of it."""
        volume = self.begin(image, size, **wish)
        self.deployed.wait(lambda: self.deployed.status(volume) not in ('creating', 'downloading'), 60)
        return volume

    def path(self, volume: str) -> pathlib.Path:
        return self.deployed.directory / 'volumes' / f'volume-{volume}'

    def read_message(self, volume: str) -> str:
        """Read what the user is told of a volume."""
        query = sa.select(models.Message.user_message).where(models.Message.resource_uuid == volume)
        with self.deployed.db.reader() as session_:
            return str(session_.scalars(query).one())

    def check_nothing_left(self, volume: str) -> None:
        """See that nothing is there of a volume that could not be made."""
        assert [path.name for path in (self.deployed.directory / 'volumes').glob(f'*{volume}*')] == []
        conversion = self.deployed.directory / 'conversion'
        assert not conversion.exists() or list(conversion.iterdir()) == []
        with self.deployed.db.reader() as session_:
            assert session_.scalars(sa.select(models.ImageCopy.volume_id)).all() == []


@contextlib.contextmanager
def deploy_with(folder: pathlib.Path, url: str, glance: Glance, **options: Any) -> Iterator[Cloud]:
    folder.mkdir(exist_ok=True)
    settings = {('glance', 'api_servers'): [url], ('glance', 'timeout'): 1}
    with deploy(folder, settings=settings, **options) as deployed:
        yield Cloud(deployed, glance)


def make_disk(folder: pathlib.Path, size: int = 8 * MIB) -> bytes:
    """Make the contents of a disk: data, a hole, data."""
    data = bytearray(size)
    data[:MIB] = os.urandom(MIB)
    data[-MIB:] = os.urandom(MIB)
    (folder / 'disk').write_bytes(data)
    return bytes(data)


def convert(folder: pathlib.Path, form: str, *options: str) -> bytes:
    """Write the disk of :func:`make_disk` in another format, as qemu-img does."""
    target = folder / f'disk.{form}'
    command = ['qemu-img', 'convert', '-f', 'raw', '-O', form, *options, str(folder / 'disk'), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target.read_bytes()


class Stalling(PortRelay):
    """A way to a server on which so many bytes of each answer arrive, and no more.

    :param limit: bytes.
    """

    def __init__(self, port: int, limit: int) -> None:
        self._target = port
        self._limit = limit
        #: the same of each request
        self.most_sent = 1 << 40
        server = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{server.getsockname()[1]}'
        super().__init__(server, self._connect)

    def _connect(self) -> socket.socket:
        server = socket.create_connection(('127.0.0.1', self._target), 10)
        near, far = socket.socketpair()
        threading.Thread(target=self._pass, args=(server, far), daemon=True).start()
        threading.Thread(target=self._pass, args=(far, server, self.most_sent), daemon=True).start()
        return near

    def _pass(self, source: socket.socket, sink: socket.socket, limit: int | None = None) -> None:
        left = self._limit if limit is None else limit
        with contextlib.suppress(OSError):
            while data := source.recv(min(65536, left) if left else 0):
                sink.sendall(data)
                left -= len(data)
        if left:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
