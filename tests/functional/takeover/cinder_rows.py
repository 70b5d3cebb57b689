# SPDX-License-Identifier: Apache-2.0
"""Rows as Cinder writes them, in a schema that Cinder made, or in one of the columns that are read."""

import datetime
import json
import uuid
from typing import Any

import sqlalchemy as sa

from multiattach.takeover import tables

MOMENT = datetime.datetime(2026, 3, 4, 5, 6, 7)
IQN = 'iqn.2010-10.org.openstack:volume-'
PORTAL = '192.0.2.9:3260'
HOST = 'old@lvm#LVM'


def new_id() -> str:
    return str(uuid.uuid4())


class CinderRows:
    """Writes into a database that has the tables.

    :param url: where it is.
    :param make: make the tables of the columns that are read.
    """

    def __init__(self, url: str, *, make: bool = False) -> None:
        self.url = url
        self.engine = sa.create_engine(url)
        if make:
            tables.CINDER.create_all(self.engine)
        self._tables = sa.MetaData()
        self._tables.reflect(self.engine, only=list(tables.CINDER.tables), resolve_fks=False)

    def close(self) -> None:
        self.engine.dispose()

    def add(self, table: str, **values: Any) -> None:
        columns = self._tables.tables[table].c
        more = {'deleted': False, 'created_at': MOMENT}
        if table == 'volume_type_projects':
            more['deleted'] = 0
        values = {**{name: value for name, value in more.items() if name in columns}, **values}
        with self.engine.begin() as connection:
            connection.execute(sa.insert(self._tables.tables[table]), values)

    def set(self, table: str, ident: str, **values: Any) -> None:
        found = self._tables.tables[table]
        with self.engine.begin() as connection:
            connection.execute(sa.update(found).where(found.c.id == ident).values(**values))

    def delete(self, table: str, ident: str) -> None:
        self.set(table, ident, deleted=True)

    def add_type(self, name: str, specs: dict[str, str] | None = None, **values: Any) -> str:
        ident = new_id()
        self.add('volume_types', id=ident, name=name, is_public=values.pop('is_public', True), **values)
        for key, value in (specs or {}).items():
            self.add('volume_type_extra_specs', volume_type_id=ident, key=key, value=value)
        return ident

    def add_qos(self, name: str, **specs: str) -> str:
        ident = new_id()
        self.add('quality_of_service_specs', id=ident, key='QoSSpec_Name', value=name)
        for key, value in specs.items():
            self.add('quality_of_service_specs', id=new_id(), specs_id=ident, key=key, value=value)
        return ident

    def add_volume(self, type_id: str, ident: str | None = None, **values: Any) -> str:
        ident = ident or new_id()
        row = {
            'id': ident,
            'project_id': 'p1',
            'user_id': 'u1',
            'size': 1,
            'host': HOST,
            'status': 'available',
            'attach_status': 'detached',
            'display_name': 'data',
            'availability_zone': 'nova',
            'volume_type_id': type_id,
            'multiattach': True,
            'bootable': False,
            'use_quota': True,
            **values,
        }
        self.add('volumes', **{k: v for k, v in row.items() if k in self._tables.tables['volumes'].c})
        return ident

    def attach(
        self, volume_id: str, host: str, account: tuple[str, str] = ('user', 'secret0123456789'), **values: Any
    ) -> str:
        """Attach a volume as Cinder's LVM driver with tgt does."""
        ident = new_id()
        info = {
            'attachment_id': ident,
            'driver_volume_type': 'iscsi',
            'target_discovered': False,
            'target_portal': PORTAL,
            'target_iqn': f'{IQN}{volume_id}',
            'target_lun': 1,
            'volume_id': volume_id,
            'auth_method': 'CHAP',
            'auth_username': account[0],
            'auth_password': account[1],
            'encrypted': False,
            'qos_specs': None,
            'access_mode': 'rw',
        }
        connector = {
            'host': host,
            'initiator': f'iqn.1994-05.com.example:{host}',
            'ip': '192.0.2.7',
            'multipath': False,
            'mountpoint': '/dev/vdb',
        }
        row = {
            'id': ident,
            'volume_id': volume_id,
            'instance_uuid': new_id(),
            'attached_host': host,
            'mountpoint': '/dev/vdb',
            'attach_status': 'attached',
            'attach_mode': 'rw',
            'attach_time': MOMENT,
            'connector': json.dumps(connector),
            'connection_info': json.dumps(info),
            **values,
        }
        self.add('volume_attachment', **row)
        self.set('volumes', volume_id, status='in-use')
        return ident

    def read_info(self, attachment_id: str) -> dict[str, Any]:
        found = self._tables.tables['volume_attachment']
        with self.engine.connect() as connection:
            text = connection.scalar(sa.select(found.c.connection_info).where(found.c.id == attachment_id))
        return json.loads(text or '{}')

    def set_info(self, attachment_id: str, info: dict[str, Any]) -> None:
        self.set('volume_attachment', attachment_id, connection_info=json.dumps(info))
