# SPDX-License-Identifier: Apache-2.0
"""clouds.yaml for the standard clients where no Keystone is."""

import yaml

CLOUD = 'multiattach'
_COMPUTE_VERSION = '2.89'
_USER = 'admin'


def render_clouds_yaml(base_url: str) -> str:
    """Write a clouds.yaml with which ``openstack --os-cloud multiattach`` needs no other option.

    Both endpoints are fixed, as there is no catalogue. ``admin_token`` sends its token as it is, and
    noauth reads a user's name from it. The compute version is given as ``api_version`` and not as
    ``default_microversion``, which would forbid the option ``--os-compute-api-version``; sharing
    needs 2.60.
    """
    base = base_url.rstrip('/')
    cloud = {
        'auth_type': 'admin_token',
        'auth': {'endpoint': f'{base}/v3', 'token': _USER},
        'block_storage_endpoint_override': f'{base}/v3',
        'volume_api_version': '3',
        'volume_endpoint_override': f'{base}/v3',
        'compute_api_version': _COMPUTE_VERSION,
        'compute_endpoint_override': f'{base}/compute/v2.1',
    }
    text: str = yaml.safe_dump({'clouds': {CLOUD: cloud}}, sort_keys=False)
    return text
