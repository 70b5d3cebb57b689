# SPDX-License-Identifier: Apache-2.0
"""The Image service, made from a program's configuration."""

import pathlib

from oslo_config import cfg

from multiattach.conf import glance as options
from multiattach.drivers.conversion.qemu import Converter, Limits
from multiattach.drivers.errors import DriverError
from multiattach.drivers.glance.service import Glance
from multiattach.volume.workshop import Workshop


def make_glance(conf: cfg.ConfigOpts) -> Glance | None:
    """Make the Image service as callers see it; None if this service knows none."""
    if not conf.glance.api_servers and conf.api.auth_strategy != 'keystone':
        return None
    return _make(conf)


def _make(conf: cfg.ConfigOpts) -> Glance:
    group = conf.glance
    return Glance(options.load_session(conf), group.api_servers, group.interface, group.region_name)


def make_workshop(conf: cfg.ConfigOpts) -> Workshop | None:
    """Make what a worker copies images with; None without an account at the Image service.

    :raises ConfigurationError: the account's options cannot be used.
    """
    auth = options.load_auth(conf)
    if auth is None and (conf.api.auth_strategy == 'keystone' or not conf.glance.api_servers):
        return None
    glance, group = _make(conf), conf.glance
    limits = Limits(group.conversion_address_space_limit, group.conversion_cpu_limit)
    return Workshop(lambda: glance.as_service(auth), Converter(limits), pathlib.Path(group.conversion_directory))


def check(conf: cfg.ConfigOpts) -> list[str]:
    """Check that the Image service answers, if there is an account for it."""
    workshop = make_workshop(conf)
    if workshop is None:
        return []
    try:
        workshop.connect().find('')
    except DriverError as exc:
        return [f'Options of [glance]: {exc}']
    return []
