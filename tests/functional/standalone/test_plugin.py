# SPDX-License-Identifier: Apache-2.0
"""The plugin with nothing but the clouds.yaml that multiattach-standalone writes."""

import pathlib
import uuid

from tests.deployments.noauth import make_connector
from tests.deployments.standalone import Standalone
from tests.functional.plugin import WARNING, Openstack


def test_with_clouds_yaml(tmp_path: pathlib.Path) -> None:
    service = Standalone(tmp_path / 'state')
    service.start()
    cloud = Openstack(
        ['--os-cloud', 'multiattach'],
        {'OS_CLIENT_CONFIG_FILE': str(service.state / 'clouds.yaml'), 'HOME': str(tmp_path)},
    )
    try:
        volume_id = service.make_volume()
        for host in ('one', 'two'):
            code, _ = service.ask(
                'POST',
                '/v3/attachments',
                {
                    'attachment': {
                        'volume_uuid': volume_id,
                        'instance_uuid': str(uuid.uuid4()),
                        'connector': make_connector(host),
                    }
                },
            )
            assert code == 200
        explained = cloud.plugin('volume explain', volume_id, '-f', 'json')
        assert ' '.join(explained.err.split()).count(WARNING) == 1
        assert explained.json['reason'] == '2 attachments are in state exported.'
        # The file must not choose the microversion in place of the option.
        assert cloud.ask('--os-volume-api-version', '3.3', 'volume', 'message', 'list') == []
        target = cloud.plugin('target show', volume_id, '-f', 'json').json
        assert sorted(row['initiator'] for row in target['recorded']) == sorted(target['initiators'])
        assert (target['luns'][0]['online'], target['differences']) == (True, [])
    finally:
        assert service.stop() == 0
    done = cloud.plugin('target list')
    assert (done.code, 'Is the service running' in done.err) == (1, True)
