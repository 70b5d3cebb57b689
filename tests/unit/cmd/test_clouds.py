# SPDX-License-Identifier: Apache-2.0
import openstack.config
import pytest
import yaml

from multiattach.cmd import clouds


def test_everything_is_in_one_cloud():
    text = clouds.render_clouds_yaml('http://192.0.2.1:8776/')
    cloud = yaml.safe_load(text)['clouds']['multiattach']
    assert cloud['auth'] == {'endpoint': 'http://192.0.2.1:8776/v3', 'token': 'admin'}
    assert '//v3' not in text


@pytest.mark.parametrize('base', ['http://192.0.2.1:8776', 'http://[2001:db8::1]:8776'])
def test_the_sdk_finds_both_endpoints(base, tmp_path, monkeypatch):
    path = tmp_path / 'clouds.yaml'
    path.write_text(clouds.render_clouds_yaml(base))
    for name in ('OS_CLOUD', 'OS_AUTH_TYPE', 'OS_COMPUTE_API_VERSION'):
        monkeypatch.delenv(name, raising=False)
    config = openstack.config.OpenStackConfig(config_files=[str(path)], load_envvars=False)
    region = config.get_one('multiattach')
    assert region.get_endpoint('block-storage') == region.get_endpoint('volume') == f'{base}/v3'
    assert region.get_endpoint('compute') == f'{base}/compute/v2.1'
    assert region.get_session().get_token() == 'admin'
    # Sharing needs 2.60; a default_microversion would forbid --os-compute-api-version.
    assert region.get_default_microversion('compute') is None
    assert region.get_api_version('compute') == '2.89'
