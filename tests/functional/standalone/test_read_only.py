# SPDX-License-Identifier: Apache-2.0
"""A server that may only read, on tgtd, whose logical units are read-only for all or for nobody."""

import pathlib
import uuid

from tests.deployments.noauth import make_connector
from tests.deployments.standalone import Standalone
from tests.functional.drivers.targets.tgt.initiator import BLOCK, Session

STRICT = {'multiattach': '<is> True', 'multiattach:enforce_read_only': '<is> True'}


def test_tgtd_keeps_no_reader_from_writing_and_the_service_says_so(tmp_path: pathlib.Path) -> None:
    service = Standalone(tmp_path / 'state')
    service.start()
    try:
        volume_id = service.make_volume()
        write_as_reader(service, volume_id)
        check_refusals(service, volume_id)
    finally:
        assert service.stop() == 0


def write_as_reader(service: Standalone, volume_id: str) -> None:
    """See that a host that cheats could write, and that an explanation tells who has to be trusted."""
    body = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'mode': 'ro'}
    code, reply = service.ask(
        'POST', '/v3/attachments', {'attachment': {**body, 'connector': make_connector('reader')}}
    )
    assert code == 200, reply
    info = reply['attachment']['connection_info']
    assert info['access_mode'] == 'ro'
    with Session(
        info['target_portal'],
        info['target_iqn'],
        make_connector('reader')['initiator'],
        info['auth_username'],
        info['auth_password'],
    ) as session:
        session.write(0, b'w' * BLOCK)
        assert session.read(0) == b'w' * BLOCK
    path = f'/v3/multiattach/attachments/{reply["attachment"]["id"]}/explain'
    assert service.ask('GET', path)[1]['explanation']['read_only_at'] == 'host'
    assert service.ask('DELETE', f'/v3/attachments/{reply["attachment"]["id"]}')[0] == 200


def check_refusals(service: Standalone, volume_id: str) -> None:
    """See that a type that asks for more gets no volume here, new or old, and that users are told."""
    assert service.ask('POST', '/v3/types', {'volume_type': {'name': 'strict', 'extra_specs': STRICT}})[0] == 200
    code, reply = service.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': 'strict'}})
    assert code == 202
    new_id = reply['volume']['id']
    service.wait(lambda: service.status(new_id) == 'error')
    service.wait(lambda: service.status(volume_id) == 'available')
    before = service.ask('GET', f'/v3/volumes/{volume_id}')[1]['volume']['volume_type']
    body = {'os-retype': {'new_type': 'strict', 'migration_policy': 'never'}}
    assert service.ask('POST', f'/v3/volumes/{volume_id}/action', body)[0] == 202
    check_message(service, new_id, 'No volume backend has what the volume type asks for')
    check_message(service, volume_id, 'the backend of the volume does not have what the type asks for')
    service.wait(lambda: service.status(volume_id) == 'available')
    assert service.ask('GET', f'/v3/volumes/{volume_id}')[1]['volume']['volume_type'] == before


def check_message(service: Standalone, volume_id: str, words: str) -> None:
    path = f'/v3/messages?resource_uuid={volume_id}'
    (said,) = service.wait(lambda: service.ask('GET', path)[1]['messages'])
    assert words in said['user_message']
    assert 'multiattach:enforce_read_only=<is> True' in said['user_message']
