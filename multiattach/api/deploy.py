# SPDX-License-Identifier: Apache-2.0
"""Puts the WSGI application together."""

from typing import Any

from oslo_config import cfg
from oslo_middleware import healthcheck, request_id, sizelimit
from oslo_middleware.healthcheck import opts as healthcheck_opts

from multiattach.api import auth, blockstorage, faults, versions
from multiattach.api.compute import app as compute_app
from multiattach.api.faults import WsgiApp
from multiattach.api.mounts import Mounts
from multiattach.api.settings import ApiSettings
from multiattach.domain import errors
from multiattach.engine.assembly import Engine

__all__ = ['ApiSettings', 'make_application']


def make_application(engine: Engine, settings: ApiSettings, conf: cfg.ConfigOpts | None = None, *,
                     authenticate: auth.Middleware | None = None) -> WsgiApp:
    """Make the whole API.

    :param engine: the use cases.
    :param settings: settings of the API.
    :param conf: configuration with the sections of oslo.middleware; None for its defaults.
    :param authenticate: middleware to use instead of the one that the settings name.
    :returns: a WSGI application.
    :raises ConfigurationError: the settings name no authentication strategy.
    """
    if conf is None:
        conf = cfg.ConfigOpts()
        conf([], project='multiattach', default_config_files=[], default_config_dirs=[])
    conf.register_opts(healthcheck_opts.HEALTHCHECK_OPTS, group='healthcheck')
    conf.set_default('backends', ['disable_by_file'], group='healthcheck')
    if authenticate is None:
        authenticate = _find_strategy(settings.auth_strategy)
    application: Any = Mounts({
        '/v3': authenticate(blockstorage.make_app(engine, settings), settings),
        '/compute': compute_app.make_app(engine, settings, authenticate),
        '/healthcheck': healthcheck.Healthcheck(None, conf),
    }, versions.make_app(engine, settings))
    application = faults.Barrier(application)
    application = sizelimit.RequestBodySizeLimiter(application, conf)
    application = request_id.RequestId(application, conf)
    return faults.Barrier(application)


def _find_strategy(name: str) -> auth.Middleware:
    try:
        return auth.STRATEGIES[name]
    except KeyError:
        raise errors.ConfigurationError(
            f'Option auth_strategy is {name!r}; it must be one of {", ".join(auth.STRATEGIES)}.') from None
