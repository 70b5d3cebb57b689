# SPDX-License-Identifier: Apache-2.0
"""Images of a private Ceph with a cephx user for each attachment, as a worker would make them."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from multiattach.drivers.ceph.images import Part
from multiattach.drivers.ceph.users import describe_capabilities
from multiattach.drivers.connectors.rbd import RbdConnector
from multiattach.drivers.hypervisors.base import Disk
from tests.testbed.ceph import Ceph, _load

POOL = 'volumes'
SIZE = 16 << 20


@dataclass
class ImageVolume:
    """An image, and what an attachment of it needs."""

    ceph: Ceph
    connector: RbdConnector
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def name(self) -> str:
        return f'volume-{self.id}'

    def create(self) -> None:
        rbd = _load('rbd')
        with self.ceph.open_pool(POOL) as io:
            rbd.RBD().create(io, self.name, SIZE, old_format=False, features=rbd.RBD_FEATURE_LAYERING)
        with self.opened() as image:
            image.metadata_set('conf_rbd_cache', 'false')

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        with self.ceph.open_pool(POOL) as io, _load('rbd').Image(io, self.name) as image:
            yield image

    def count_watchers(self) -> int:
        with self.opened() as image:
            return len(list(image.watchers_list())) - 1

    def make_attachment(self, mode: str = 'rw', **changes: Any) -> dict[str, Any]:
        """Make a user; the answer is a connection_info."""
        ident = str(uuid.uuid4())
        with self.opened() as image:
            number = image.id()
        osd = describe_capabilities(self.name, Part(POOL, number, (POOL, f'rbd_data.{number}')), [], mode == 'ro')
        user = f'multiattach-{ident}'
        made = self.ceph.ask('auth get-or-create', entity=f'client.{user}', caps=['mon', 'allow r', 'osd', osd])
        monitors = [one['addr'].partition('/')[0].rpartition(':') for one in self.ceph.ask('mon dump')['mons']]
        return {
            'driver_volume_type': 'rbd',
            'attachment_id': ident,
            'volume_id': self.id,
            'name': f'{POOL}/{self.name}',
            'hosts': [host for host, _, _ in monitors],
            'ports': [port for _, _, port in monitors],
            'cluster_name': 'ceph',
            'auth_enabled': True,
            'auth_username': user,
            'secret_type': 'ceph',
            'secret_uuid': ident,
            'keyring': f'[client.{user}]\n\tkey = {made[0]["key"]}\n',
            'discard': True,
            'access_mode': mode,
            **changes,
        }

    def make_disk(self, info: dict[str, Any], **changes: Any) -> Disk:
        wanted = {'device': '/dev/vdb', 'multiattach': True, 'mode': info['access_mode']} | changes
        return Disk(info['attachment_id'], self.id, self.connector.connect(info), **wanted)

    def remove_user(self, info: dict[str, Any]) -> None:
        self.ceph.ask('auth rm', entity=f'client.{info["auth_username"]}')
