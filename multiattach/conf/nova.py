# SPDX-License-Identifier: Apache-2.0
"""Options for querying Nova about servers and for notifying it of extended volumes."""

from keystoneauth1 import adapter, loading
from oslo_config import cfg

GROUP = 'nova'
OPTS = [
    cfg.StrOpt(
        'endpoint',
        default='',
        help="URL of the Compute API. If empty, it is taken from the caller's service catalog. With auth_strategy "
        'noauth, Nova is consulted only if this option is set.',
    ),
    cfg.StrOpt(
        'interface',
        default='public',
        choices=['public', 'internal', 'admin'],
        help='Interface of the Compute API in the service catalog.',
    ),
    cfg.StrOpt(
        'region_name',
        default='',
        help='Region of the Compute API in the service catalog. If empty, any region is used.',
    ),
]


def register_auth(conf: cfg.ConfigOpts) -> None:
    """Register the options by which this service logs in to tell Nova what has grown."""
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)


def list_auth_opts() -> list[cfg.Opt]:
    """Return the options by which this service logs in with a password, for the sample generator."""
    return [
        *loading.get_session_conf_options(),
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options('password'),
    ]


def load_client(conf: cfg.ConfigOpts) -> adapter.Adapter | None:
    """Make a client of the Compute API with this service's credentials; None if ``[nova] auth_type`` is not set."""
    register_auth(conf)
    group = conf[GROUP]
    if not group.auth_type:
        return None
    return adapter.Adapter(
        loading.load_session_from_conf_options(conf, GROUP, auth=loading.load_auth_from_conf_options(conf, GROUP)),
        service_type='compute',
        interface=group.interface,
        region_name=group.region_name or None,
        endpoint_override=group.endpoint or None,
        default_microversion='2.89',
    )
