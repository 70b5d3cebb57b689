# SPDX-License-Identifier: Apache-2.0
"""The WSGI application, made from its configuration; apart from the other parts, so that workers and
agents need not import what only the API needs.
"""

from oslo_config import cfg

from multiattach.api import deploy, keystone
from multiattach.api.auth import Middleware
from multiattach.api.faults import WsgiApp
from multiattach.api.settings import ApiSettings
from multiattach.engine.assembly import Engine


def make_application(conf: cfg.ConfigOpts, engine: Engine) -> WsgiApp:
    """Make the WSGI application.

    :param conf: configuration.
    :param engine: the use cases.
    :returns: the application.
    :raises ConfigurationError: the message names the options.
    """
    settings = ApiSettings(
        auth_strategy=conf.api.auth_strategy, public_endpoint=conf.api.public_endpoint or '',
        max_limit=conf.api.max_limit, project_id_regex=conf.api.project_id_regex)
    return deploy.make_application(engine, settings, conf, authenticate=_find_strategy(conf, engine))


def _find_strategy(conf: cfg.ConfigOpts, engine: Engine) -> Middleware | None:
    if conf.api.auth_strategy != 'keystone':
        return None
    return keystone.make_strategy(conf, engine.policy)
