# SPDX-License-Identifier: Apache-2.0
"""Options for images: where the Image service is, as whom it is asked, and how images are converted."""

from keystoneauth1 import loading, plugin, session
from oslo_config import cfg

from multiattach.domain import errors

GROUP = 'glance'
_STALL = 60  # s
OPTS = [
    cfg.ListOpt(
        'api_servers',
        default=[],
        deprecated_opts=[cfg.DeprecatedOpt('glance_api_servers', group='DEFAULT')],
        help='URLs of the Image API, such as http://controller:9292. If empty, the endpoint is taken from the service '
        'catalog. With auth_strategy noauth, volumes can be made of images only if this option is set.',
    ),
    cfg.StrOpt(
        'interface',
        default='public',
        choices=['public', 'internal', 'admin'],
        help='Interface of the Image API in the service catalog.',
    ),
    cfg.StrOpt(
        'region_name', default='', help='Region of the Image API in the service catalog. If empty, any region is used.'
    ),
    cfg.StrOpt(
        'conversion_directory',
        default='$state_path/conversion',
        deprecated_opts=[cfg.DeprecatedOpt('image_conversion_dir', group='DEFAULT')],
        help='Directory for images while they are fetched, checked and converted. It needs room for as many images as '
        'are copied at the same time. The files have no name: nothing is left of a worker that was killed.',
    ),
    cfg.IntOpt(
        'conversion_cpu_limit',
        default=60,
        min=1,
        deprecated_opts=[cfg.DeprecatedOpt('image_conversion_cpu_limit', group='DEFAULT')],
        help='CPU seconds that qemu-img may take to convert an image, for each GiB of the volume.',
    ),
    cfg.IntOpt(
        'conversion_address_space_limit',
        default=2,
        min=1,
        deprecated_opts=[cfg.DeprecatedOpt('image_conversion_address_space_limit', group='DEFAULT')],
        help='GiB of address space that qemu-img may take to convert an image.',
    ),
]


def register_auth(conf: cfg.ConfigOpts) -> None:
    """Register the options by which this service logs in to copy images."""
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    # The library's default is to wait for ever, also for the rest of an answer that has begun.
    conf.set_default('timeout', _STALL, group=GROUP)


def list_auth_opts() -> list[cfg.Opt]:
    """Return the options by which this service logs in with a password, for the sample generator."""
    opts = loading.get_session_conf_options()
    cfg.set_defaults(opts, timeout=_STALL)
    return [*opts, *loading.get_auth_common_conf_options(), *loading.get_auth_plugin_conf_options('password')]


def load_session(conf: cfg.ConfigOpts) -> session.Session:
    """Make a session as the options of sessions say, with nobody's credentials."""
    return loading.load_session_from_conf_options(conf, GROUP)


def load_auth(conf: cfg.ConfigOpts) -> plugin.BaseAuthPlugin | None:
    """Make this service's own credentials; None if ``[glance] auth_type`` is not set.

    :raises ConfigurationError: they cannot be used.
    """
    if not conf[GROUP].auth_type:
        return None
    try:
        return loading.load_auth_from_conf_options(conf, GROUP)
    except Exception as exc:
        raise errors.ConfigurationError(f'Option auth_type and those that go with it in [{GROUP}]: {exc}') from exc
