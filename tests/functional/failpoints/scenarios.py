# SPDX-License-Identifier: Apache-2.0
"""What brings a process to a failpoint, what it leaves, and how a test cleans up after it."""

import contextlib
import hashlib
import http.client
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.deployments.distributed import BACKEND
from tests.deployments.failpoints import Deployment
from tests.deployments.noauth import HEADERS
from tests.testbed.polling import wait_until

_COMPUTE = HEADERS | {'OpenStack-API-Version': 'compute 2.60'}
CONNECTOR = {'host': 'a', 'initiator': 'iqn.1994-05.com.redhat:a', 'ip': '127.0.0.1'}


class Gone(Exception):
    """The API closed the connection without an answer."""


class Scenario:
    """One way to a failpoint.

    :param cloud: the deployment.
    :param action: its name.
    """

    def __init__(self, cloud: Deployment, action: str) -> None:
        self.cloud = cloud
        self.action = action
        self.volume = ''
        self.clone = ''
        self.snapshot = ''
        self.ident = ''
        self.image = ''
        self.data = os.urandom(8 << 20)
        self.spare: Any = None
        self.name = ''
        self._digest = b''
        self._thread: threading.Thread | None = None

    # -- requests ------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, *, api: int = 1) -> tuple[int, Any]:
        """Make a request; number 1 is the API that nobody kills."""
        connection = http.client.HTTPConnection('127.0.0.1', self.cloud.ports[api], timeout=60)
        try:
            headers = _COMPUTE if path.startswith('/compute') else HEADERS
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as exc:
            raise Gone(str(exc)) from exc
        finally:
            connection.close()
        return reply.status, json.loads(text) if text else None

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        code, reply = self.ask(method, path, body)
        assert code < 300, reply
        return reply

    def _make(self) -> str:
        wish = {'volume': {'size': 1, 'volume_type': 'shared'}}
        ident = self._do('POST', '/v3/volumes', wish)['volume']['id']
        self._wait_status(ident, 'available')
        return str(ident)

    def _wait_status(self, ident: str, status: str) -> None:
        wait_until(
            lambda: self._do('GET', f'/v3/volumes/{ident}')['volume']['status'] == status,
            30,
            f'a volume that is {status}',
            0.05,
        )

    def _server_path(self, server: str) -> str:
        return f'/compute/v2.1/servers/{server}/os-volume_attachments'

    # -- before --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make what the action needs, with nobody armed."""
        if self.action == 'make':
            return
        if self.action in ('manage', 'image'):
            {'manage': self._put_file, 'image': self._prepare_image}[self.action]()
            return
        self.volume = self._make()
        if self.action in _ALONE:
            _ALONE[self.action](self)
            return
        if self.action in ('unplug', 'sweep'):
            self._plug(self.cloud.server_id)
            wait_until(lambda: self.state() == 'attached', 60, 'an attached server', 0.05)
            return
        if self.action == 'vanish':
            self.spare = self.cloud.define_spare()
            path = f'/compute/v2.1/servers/{self.spare.UUIDString()}'
            wait_until(lambda: self.ask('GET', path)[0] == 200, 30, 'the server', 0.05)
            return
        self._reserve()
        if self.action in ('complete', 'disconnect', 'fence', 'restore'):
            self._do('PUT', f'/v3/attachments/{self.ident}', {'attachment': {'connector': CONNECTOR}})
        if self.action in ('disconnect', 'fence', 'restore'):
            self._do('POST', f'/v3/attachments/{self.ident}/action', {'os-complete': None})
        if self.action == 'refuse':
            self._file().rename(self._file().with_suffix('.away'))

    def _prepare_image(self) -> None:
        self.image = self.cloud.make_image(self.data)

    def _prepare_snapshot(self) -> None:
        self._write(b'before')
        if self.action != 'snapshot':
            self.snapshot = self._take()
            self._write(b'after!')

    def _write(self, data: bytes) -> None:
        with self._file().open('r+b') as file:
            file.write(data)

    def _take(self) -> str:
        ident = self._do('POST', '/v3/snapshots', {'snapshot': {'volume_id': self.volume}})['snapshot']['id']
        wait_until(
            lambda: self._do('GET', f'/v3/snapshots/{ident}')['snapshot']['status'] == 'available',
            30,
            'a snapshot',
            0.05,
        )
        return str(ident)

    def make_one_more(self) -> None:
        """Give the workers an order more; its volume goes with the others."""
        self._make()

    def _reserve(self) -> None:
        self.ident = self._do(
            'POST', '/v3/attachments', {'attachment': {'volume_uuid': self.volume, 'instance_uuid': str(uuid.uuid4())}}
        )['attachment']['id']

    def _plug(self, server: str, api: int = 1) -> None:
        code, reply = self.ask(
            'POST', self._server_path(server), {'volumeAttachment': {'volumeId': self.volume}}, api=api
        )
        assert code == 200, reply

    def _fill(self) -> None:
        with self._file().open('r+b') as file:  # holes are not copied
            file.write(os.urandom(8 << 20))

    def _free(self) -> None:
        """Let the volume go to another backend, by its type."""
        self._fill()
        self._digest = hashlib.sha256(self._file().read_bytes()).digest()
        self._do('POST', f'/v3/volumes/{self.volume}/action', {'os-retype': {'new_type': 'moved'}})

    def _block(self) -> None:
        """Have something in the way there."""
        self._free()
        self._copy().write_bytes(b'something')

    def _copy(self) -> Any:
        return self.cloud.folder / 'copies' / f'volume-{self.volume}'

    def _put_file(self) -> None:
        self.name = f'there-{uuid.uuid4().hex}'
        with (self.cloud.folder / 'volumes' / self.name).open('wb') as file:
            file.truncate(1 << 30)

    def _prepare_file_of_snapshot(self) -> None:
        self.name = f'snapshot-{uuid.uuid4().hex}'
        with (self.cloud.folder / 'volumes' / self.name).open('wb') as file:
            file.write(b'before')
            file.truncate(1 << 30)

    def _offer(self) -> None:
        wish = {'transfer': {'volume_id': self.volume}}
        self.spare = self._do('POST', '/v3/volume-transfers', wish)['transfer']

    def _file(self) -> Any:
        return self.cloud.folder / 'volumes' / f'volume-{self.volume}'

    # -- the action ----------------------------------------------------------------------------

    def begin(self, api: int) -> None:
        """Ask for it, in a thread: the answer may never come.

        :param api: number of the API that is asked.
        """

        def run() -> None:
            with contextlib.suppress(Gone):
                getattr(self, f'_{self.action}_now', self._nothing)(api)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def is_answered(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def await_answer(self) -> None:
        """Wait for the end of the request, whatever it is."""
        if self._thread is not None:
            self._thread.join(60)
            assert not self._thread.is_alive()

    def _nothing(self, api: int) -> None:
        """A start alone leads there."""

    def _create_now(self, api: int) -> None:
        self.ask(
            'POST',
            '/v3/attachments',
            {'attachment': {'volume_uuid': self.volume, 'instance_uuid': str(uuid.uuid4()), 'connector': CONNECTOR}},
            api=api,
        )

    def _connect_now(self, api: int) -> None:
        self.ask('PUT', f'/v3/attachments/{self.ident}', {'attachment': {'connector': CONNECTOR}}, api=api)

    _refuse_now = _unanswered_now = _connect_now

    def _complete_now(self, api: int) -> None:
        self.ask('POST', f'/v3/attachments/{self.ident}/action', {'os-complete': None}, api=api)

    def _disconnect_now(self, api: int) -> None:
        self.ask('DELETE', f'/v3/attachments/{self.ident}', api=api)

    _unreserve_now = _disconnect_now

    def _make_now(self, api: int) -> None:
        self.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': 'shared'}}, api=api)

    def _clone_now(self, api: int) -> None:
        self.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'source_volid': self.volume}}, api=api)

    def _snapshot_now(self, api: int) -> None:
        self.ask('POST', '/v3/snapshots', {'snapshot': {'volume_id': self.volume}}, api=api)

    def _forget_now(self, api: int) -> None:
        self.ask('DELETE', f'/v3/snapshots/{self.snapshot}', api=api)

    def _adopt_now(self, api: int) -> None:
        wish = {'volume_id': self.volume, 'ref': {'source-name': self.name}}
        self.ask('POST', '/v3/manageable_snapshots', {'snapshot': wish}, api=api)

    def _revert_now(self, api: int) -> None:
        self.ask('POST', f'/v3/volumes/{self.volume}/action', {'revert': {'snapshot_id': self.snapshot}}, api=api)

    def _image_now(self, api: int) -> None:
        wish = {'size': 1, 'imageRef': self.image, 'volume_type': 'shared'}
        self.ask('POST', '/v3/volumes', {'volume': wish}, api=api)

    def _reimage_now(self, api: int) -> None:
        self.ask('POST', f'/v3/volumes/{self.volume}/action', {'os-reimage': {'image_id': self.image}}, api=api)

    def _upload_now(self, api: int) -> None:
        self.ask(
            'POST',
            f'/v3/volumes/{self.volume}/action',
            {'os-volume_upload_image': {'image_name': self.volume, 'disk_format': 'qcow2'}},
            api=api,
        )

    def _destroy_now(self, api: int) -> None:
        self.ask('DELETE', f'/v3/volumes/{self.volume}', api=api)

    def _extend_now(self, api: int) -> None:
        self.ask('POST', f'/v3/volumes/{self.volume}/action', {'os-extend': {'new_size': 2}}, api=api)

    def _migrate_now(self, api: int) -> None:
        wish = {'host': BACKEND.replace('@file', '@copy'), 'lock_volume': True}
        self.ask('POST', f'/v3/volumes/{self.volume}/action', {'os-migrate_volume': wish}, api=api)

    _stop_now = _migrate_now

    def _retype_now(self, api: int) -> None:
        wish = {'new_type': 'copied', 'migration_policy': 'on-demand'}
        self.ask('POST', f'/v3/volumes/{self.volume}/action', {'os-retype': wish}, api=api)

    def _sprout_now(self, api: int) -> None:
        self.ask('POST', '/v3/volumes', {'volume': {'snapshot_id': self.snapshot}}, api=api)

    def _manage_now(self, api: int) -> None:
        wish = {'host': BACKEND, 'ref': {'source-name': self.name}, 'volume_type': 'shared'}
        self.ask('POST', '/v3/manageable_volumes', {'volume': wish}, api=api)

    def _unmanage_now(self, api: int) -> None:
        self.ask('POST', f'/v3/volumes/{self.volume}/action', {'os-unmanage': None}, api=api)

    def _offer_now(self, api: int) -> None:
        self.ask('POST', '/v3/volume-transfers', {'transfer': {'volume_id': self.volume}}, api=api)

    def _accept_now(self, api: int) -> None:
        path = f'/v3/volume-transfers/{self.spare["id"]}/accept'
        self.ask('POST', path, {'accept': {'auth_key': self.spare['auth_key']}}, api=api)

    def _fence_now(self, api: int) -> None:
        ident = (
            self.ident
            or self.cloud.query('SELECT id FROM attachments WHERE volume_id = %s AND deleted_at IS NULL', self.volume)[
                0
            ][0]
        )
        self.ask('POST', f'/v3/multiattach/attachments/{ident}/fence', {'fence': {}}, api=api)

    _sweep_now = _fence_now

    def _plug_now(self, api: int) -> None:
        self._plug(self.cloud.server_id, api)

    def _unplug_now(self, api: int) -> None:
        self.ask('DELETE', f'{self._server_path(self.cloud.server_id)}/{self.volume}', api=api)

    def _vanish_now(self, api: int) -> None:
        """The agent sleeps when the host reaches the device: then the server goes."""
        self._plug(self.spare.UUIDString(), api)
        wait_until(lambda: self.state() == 'connecting', 30, 'the intent', 0.02)
        time.sleep(0.3)
        self.spare.undefine()

    # -- after ---------------------------------------------------------------------------------

    def state(self) -> str | None:
        """Return the state of the newest attachment of the volume; None if all are gone."""
        found = self.cloud.query(
            'SELECT state FROM attachments WHERE volume_id = %s AND deleted_at IS NULL '
            'ORDER BY created_at DESC LIMIT 1',
            self.volume,
        )
        return str(found[0][0]) if found else None

    def check(self, outcome: str) -> None:
        """See that the outcome is what the table says."""
        getattr(self, '_check_' + outcome.replace(' ', '_'))()

    def _check_attached(self) -> None:
        assert self.state() == 'attached'

    def _check_gone(self) -> None:
        assert self.state() is None
        assert self._do('GET', f'/v3/volumes/{self.volume}')['volume']['status'] == 'available'

    def _check_exported(self) -> None:
        assert self.state() == 'exported'
        again = self._do('PUT', f'/v3/attachments/{self.ident}', {'attachment': {'connector': CONNECTOR}})
        assert again['attachment']['connection_info']['auth_password']

    def _check_exports(self) -> None:
        assert self.state() == 'attached'

    def _check_reserved(self) -> None:
        assert self.state() == 'reserved'

    def _check_refused(self) -> None:
        assert self.state() == 'reserved'
        (error,) = self.cloud.query('SELECT error FROM attachments WHERE volume_id = %s', self.volume)[0]
        assert error.startswith('export volume: ')

    def _check_cut_off(self) -> None:
        assert self.state() == 'fenced'
        (proof,) = self.cloud.query('SELECT fence_proof FROM attachments WHERE volume_id = %s', self.volume)[0]
        assert json.loads(proof)['left'] == {'acl': False, 'account': False, 'sessions': []}

    _check_swept = _check_cut_off

    def _check_error_attaching(self) -> None:
        assert self.state() == 'error_attaching'
        (error,) = self.cloud.query('SELECT error FROM attachments WHERE volume_id = %s', self.volume)[0]
        assert error

    def _newest(self) -> tuple[str, str]:
        (row,) = self.cloud.query('SELECT id, status FROM volumes ORDER BY created_at DESC LIMIT 1')
        return row[0], row[1]

    def _check_available(self) -> None:
        ident, status = self._newest()
        assert status == 'available'
        assert ident != self.volume
        if self.snapshot:
            assert self._read(f'volume-{ident}') == b'before'

    def _show_status(self) -> str:
        (row,) = self.cloud.query('SELECT status FROM volumes WHERE id = %s', self.volume)
        return str(row[0])

    def _check_filled(self) -> None:
        ident, status = (self.volume, self._show_status()) if self.volume else self._newest()
        assert status == 'available'
        with (self.cloud.folder / 'volumes' / f'volume-{ident}').open('rb') as file:
            assert file.read(len(self.data)) == self.data
        assert not list((self.cloud.folder / 'volumes').glob('trash-*'))

    def _check_imaged(self) -> None:
        (image,) = self.cloud.glance_api.find(self.volume)
        assert (image.status, image.disk_format) == ('active', 'qcow2')
        assert self._show_status() == 'available'

    def _check_not_imaged(self) -> None:
        assert self.cloud.glance_api.find(self.volume) == []
        assert self._show_status() == 'available'
        told = [one['user_message'] for one in self._do('GET', '/v3/messages')['messages']]
        assert any(text.startswith('copy volume to image: Image ') for text in told)

    def _check_unplaced(self) -> None:
        ident, status = self._newest()
        assert status == 'error'
        told = [
            one['user_message'] for one in self._do('GET', '/v3/messages')['messages'] if one['resource_uuid'] == ident
        ]
        assert any('create it anew' in text for text in told)

    def _check_deleted(self) -> None:
        assert self.ask('GET', f'/v3/volumes/{self.volume}')[0] == 404
        assert not self._file().exists()
        assert not list(self._file().parent.glob(f'trash-{self.volume}.*'))

    def _check_taken(self) -> None:
        (row,) = self.cloud.query('SELECT id, status FROM snapshots WHERE volume_id = %s', self.volume)
        assert row[1] == 'available'
        assert self._read(f'snapshot-{row[0]}') == b'before'

    def _check_snapshot_managed(self) -> None:
        self._check_taken()
        assert not (self._file().parent / self.name).exists()

    def _check_reverted(self) -> None:
        rows = self.cloud.query('SELECT status FROM snapshots WHERE id = %s', self.snapshot)
        rows += self.cloud.query('SELECT status FROM volumes WHERE id = %s', self.volume)
        assert [row[0] for row in rows] == ['available', 'available']
        assert self._read(f'volume-{self.volume}') == self._read(f'snapshot-{self.snapshot}') == b'before'

    def _check_snapshot_deleted(self) -> None:
        assert self.ask('GET', f'/v3/snapshots/{self.snapshot}')[0] == 404
        assert not [path for path in self._file().parent.iterdir() if self.snapshot in path.name]
        assert self._read(f'volume-{self.volume}') == b'after!'

    def _read(self, name: str) -> bytes:
        with (self._file().parent / name).open('rb') as file:
            return file.read(6)

    def _check_extended(self) -> None:
        (row,) = self.cloud.query('SELECT status, size FROM volumes WHERE id = %s', self.volume)
        assert row == ('available', 2)
        assert self._file().stat().st_size == 2 << 30

    def _check_managed(self) -> None:
        self.volume, status = self._newest()
        assert status == 'available'
        assert self._file().stat().st_size == 1 << 30
        assert not (self._file().parent / self.name).exists()

    def _check_unmanaged(self) -> None:
        assert self.ask('GET', f'/v3/volumes/{self.volume}')[0] == 404
        self._file().unlink()

    def _check_migrated(self) -> None:
        volume = self._do('GET', f'/v3/volumes/{self.volume}')['volume']
        assert (volume['status'], volume['migration_status']) == ('available', 'success')
        assert hashlib.sha256(self._copy().read_bytes()).digest() == self._digest

    def _check_stayed(self) -> None:
        volume = self._do('GET', f'/v3/volumes/{self.volume}')['volume']
        assert (volume['status'], volume['migration_status']) == ('available', 'error')
        assert hashlib.sha256(self._file().read_bytes()).digest() == self._digest
        assert self._copy().read_bytes() == b'something'
        self._copy().unlink()

    def _check_offered(self) -> None:
        self._wait_status(self.volume, 'awaiting-transfer')
        [transfer] = self._do('GET', '/v3/volume-transfers')['transfers']
        self._do('DELETE', f'/v3/volume-transfers/{transfer["id"]}')
        self._wait_status(self.volume, 'available')

    def _check_accepted(self) -> None:
        self._wait_status(self.volume, 'available')
        assert self._do('GET', '/v3/volume-transfers')['transfers'] == []

    # -- cleaning up ---------------------------------------------------------------------------

    def clean(self) -> None:
        """Take away what is left, as a user does: with requests that work."""
        away = self._file().with_suffix('.away')
        if self.action == 'refuse' and away.exists():
            away.rename(self._file())
        if self.action == 'stop':
            self._copy().unlink(missing_ok=True)
        if self.action == 'unmanage':  # its storage stays, also where nobody was killed
            self._file().unlink(missing_ok=True)
        if self.action == 'vanish' and self.spare is not None:
            with contextlib.suppress(Exception):
                self.spare.undefine()
        for ident, agent, state in self.cloud.query(
            'SELECT id, agent_host, state FROM attachments WHERE deleted_at IS NULL'
        ):
            if agent and state == 'attached':
                self.ask('DELETE', f'{self._server_path(self.cloud.server_id)}/{self.volume}')
            else:
                self.ask('DELETE', f'/v3/attachments/{ident}')
        self.cloud.wait_settled(30)
        assert self.cloud.query('SELECT id, state FROM attachments WHERE deleted_at IS NULL') == []
        for (ident,) in self.cloud.query('SELECT id FROM volumes WHERE deleted_at IS NULL'):
            self._do('DELETE', f'/v3/volumes/{ident}?cascade=True')
        self.cloud.wait_settled(30)
        assert self.cloud.query('SELECT id, status FROM volumes WHERE deleted_at IS NULL') == []


# What an action needs besides a volume, where nobody has that.
_ALONE: dict[str, Callable[[Scenario], None]] = {
    'clone': Scenario._fill,
    'accept': Scenario._offer,
    **dict.fromkeys(('snapshot', 'forget', 'revert', 'sprout'), Scenario._prepare_snapshot),
    'adopt': Scenario._prepare_file_of_snapshot,
    **dict.fromkeys(('migrate', 'retype'), Scenario._free),
    **dict.fromkeys(('reimage', 'upload'), Scenario._prepare_image),
    'stop': Scenario._block,
    **dict.fromkeys(('create', 'destroy', 'extend', 'plug', 'offer', 'unmanage'), lambda _scenario: None),
}
