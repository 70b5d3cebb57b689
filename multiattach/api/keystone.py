# SPDX-License-Identifier: Apache-2.0
"""Keystone says who is calling: keystonemiddleware, and a request context of what it found."""

from collections.abc import Callable, Iterable
from typing import Any

from keystoneauth1 import exceptions, loading
from keystonemiddleware import auth_token
from oslo_config import cfg

from multiattach.api.auth import Middleware, split_roles
from multiattach.api.faults import WsgiApp
from multiattach.api.request import CONTEXT
from multiattach.api.settings import ApiSettings
from multiattach.domain import errors
from multiattach.engine.context import SERVICE, RequestContext
from multiattach.engine.policy import Policy

GROUP = 'keystone_authtoken'
_TIMEOUT = 30


class KeystoneContext:
    """Turns the headers that keystonemiddleware set into a request context.

    :param service_roles: roles of a service token that make a service request (contract 7.2).
    """

    def __init__(self, application: WsgiApp, policy: Policy, service_roles: Iterable[str]) -> None:
        self._application = application
        self._policy = policy
        self._service_roles = set(service_roles)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        service = self._service_roles & set(split_roles(environ.get('HTTP_X_SERVICE_ROLES', '')))
        ctx = RequestContext.from_environ(
            environ,
            request_id=environ.get('openstack.request_id'),
            global_request_id=environ.get('openstack.global_request_id'),
        )
        ctx.address = environ.get('REMOTE_ADDR')
        ctx.service_roles = [SERVICE] if service else []
        ctx.catalog_text = environ.get('HTTP_X_SERVICE_CATALOG')
        ctx.is_admin = self._policy.allows(ctx, 'context_is_admin', ctx.project)
        environ[CONTEXT] = ctx
        ctx.bind()
        return self._application(environ, start_response)


def make_strategy(conf: cfg.ConfigOpts, policy: Policy) -> Middleware:
    """Make the authentication strategy ``keystone``; Keystone itself need not run yet."""
    section = _check_options(conf)
    # Unset, each refusal would ask Keystone where Keystone is.
    uri = conf[GROUP].www_authenticate_uri or conf[section].get('auth_url')

    def authenticate(application: WsgiApp, settings: ApiSettings) -> WsgiApp:
        roles = conf[GROUP].service_token_roles
        guarded: WsgiApp = auth_token.AuthProtocol(
            KeystoneContext(application, policy, roles),
            {'oslo_config_config': conf, 'delay_auth_decision': False, 'www_authenticate_uri': uri},
        )
        return guarded

    return authenticate


def _check_options(conf: cfg.ConfigOpts) -> str:
    """Read every option once, as oslo.config checks a value only when it is read.

    :returns: the section of the credentials.
    """
    for group, opts in auth_token.list_opts():
        conf.register_opts(opts, group=group)
        _read(conf, group, opts)
    # The library's default is to wait for ever.
    conf.set_default('http_connect_timeout', _TIMEOUT, group=GROUP)
    section = conf[GROUP].auth_section or GROUP
    if section != GROUP:
        conf.register_opts(loading.get_auth_common_conf_options(), group=section)
    if not conf[section].auth_type:
        raise errors.ConfigurationError(
            f'Option auth_type in [{section}] is not set: how this service proves who it is when it '
            'asks Keystone, mostly "password".'
        )
    try:
        loader: Any = loading.get_plugin_loader(conf[section].auth_type)
    except exceptions.NoMatchingPlugin as exc:
        raise errors.ConfigurationError(f'Option auth_type in [{section}]: {exc}') from exc
    opts = loading.get_auth_plugin_conf_options(loader)
    conf.register_opts(opts, group=section)
    _read(conf, section, opts)
    try:
        loading.load_auth_from_conf_options(conf, section)
    except exceptions.MissingRequiredOptions as exc:
        names = ', '.join(opt.name.replace('-', '_') for opt in exc.options)
        raise errors.ConfigurationError(f'Missing in [{section}]: {names}.') from exc
    except exceptions.ClientException as exc:
        raise errors.ConfigurationError(f'Options of [{section}] cannot be used: {exc}') from exc
    return str(section)


def _read(conf: cfg.ConfigOpts, group: str, opts: Iterable[cfg.Opt]) -> None:
    for opt in opts:
        try:
            conf[group][opt.dest]
        except ValueError as exc:
            # Not the value: it may be a password.
            raise errors.ConfigurationError(
                f'Option {opt.dest} in [{group}] has a value that is no {opt.type}.'
                if opt.secret
                else f'Option {opt.dest} in [{group}]: {exc}'
            ) from exc
