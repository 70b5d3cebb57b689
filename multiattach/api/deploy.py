# SPDX-License-Identifier: Apache-2.0
"""Puts the WSGI application together."""

from collections.abc import Callable, Mapping

from oslo_config import cfg
from oslo_policy import policy

from multiattach.api import actions, admission, auth, edge, health, microversion, routing, versions
from multiattach.api.block import app as block
from multiattach.api.compute import app as compute_app
from multiattach.api.faults import WsgiApp
from multiattach.api.settings import ApiSettings
from multiattach.domain import errors
from multiattach.engine.assembly import Engine

__all__ = ['ApiSettings', 'make_application']


def make_application(
    engine: Engine,
    settings: ApiSettings,
    conf: cfg.ConfigOpts | None = None,
    *,
    authenticate: auth.Middleware | None = None,
    checks: Mapping[str, health.Check] | None = None,
    audit: Callable[[WsgiApp], WsgiApp] | None = None,
) -> WsgiApp:
    """Make the whole API.

    :param authenticate: middleware to use instead of the one that the settings name.
    :param audit: middleware that tells others who does what, inside of authentication; None for none.
    :raises ConfigurationError: the settings name no authentication strategy.
    """
    if conf is None:
        conf = cfg.ConfigOpts()
        conf([], project='multiattach', default_config_files=[], default_config_dirs=[])
    if authenticate is None:
        authenticate = _find_strategy(settings.auth_strategy)
    if audit is not None:
        authenticate = _audited(authenticate, audit)
    authenticate = admission.bound(authenticate, settings)
    application = routing.Mounts(
        {
            '/v3': authenticate(block.make_app(engine, settings), settings),
            '/compute': compute_app.make_app(engine, settings, authenticate),
            '/healthcheck': health.Healthcheck(conf, checks or {}),
        },
        routing.make_app(microversion.BLOCK_STORAGE, [versions.UnversionedController(engine, settings)], settings),
    )
    served = edge.Edge(edge.BodyLimit(application, conf))
    proxied = edge.ProxyHeaders(served, conf)
    return proxied if conf.oslo_middleware.enable_proxy_headers_parsing else served


def list_operations() -> dict[str, list[policy.Operation]]:
    """Return which calls ask each policy rule, as oslo.policy documents rules."""
    found: dict[str, list[policy.Operation]] = {}
    for controllers in (block.CONTROLLERS, compute_app.CONTROLLERS):
        for route, _, controller in routing.list_routes(controllers):
            for rule in actions.find_rules(route, controller):
                found.setdefault(rule, []).append({'method': route.method, 'path': route.path})
    return found


def _audited(authenticate: auth.Middleware, audit: Callable[[WsgiApp], WsgiApp]) -> auth.Middleware:
    return lambda application, settings: authenticate(audit(application), settings)


def _find_strategy(name: str) -> auth.Middleware:
    try:
        return auth.STRATEGIES[name]
    except KeyError:
        raise errors.ConfigurationError(
            f'Option auth_strategy is {name!r}; it must be one of {", ".join(auth.STRATEGIES)}.'
        ) from None
