# SPDX-License-Identifier: Apache-2.0
"""The WSGI application, made from its configuration; apart from the other parts, so that workers and
agents need not import what only the API needs.
"""

import configparser
import functools
from collections.abc import Callable

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_log import log

from multiattach.api import deploy, health
from multiattach.api.auth import Middleware
from multiattach.api.faults import WsgiApp
from multiattach.api.settings import ApiSettings
from multiattach.cmd import operations, parts
from multiattach.db import migration
from multiattach.domain import errors
from multiattach.engine.assembly import Engine
from multiattach.rpc import broker

LOG = log.getLogger(__name__)
NOAUTH = (
    'No authentication (auth_strategy = noauth in [api]): whoever reaches the API is an administrator '
    'of all volumes and hosts.'
)


def make_application(conf: cfg.ConfigOpts, engine: Engine, rpc: messaging.Transport | None = None) -> WsgiApp:
    """Make the WSGI application; *rpc* is for ``/healthcheck``.

    :raises ConfigurationError: the message names the options.
    """
    check_strategy(conf)
    settings = ApiSettings(
        auth_strategy=conf.api.auth_strategy,
        noauth_hosts=(conf.host, *conf.api.noauth_hosts),
        public_endpoint=conf.api.public_endpoint or '',
        max_limit=conf.api.max_limit,
        project_id_regex=conf.api.project_id_regex,
        max_active_requests=conf.api.max_active_requests,
        max_queue_time=conf.api.max_queue_time,
    )
    return deploy.make_application(
        engine,
        settings,
        conf,
        authenticate=_find_strategy(conf, engine),
        checks=_make_checks(conf, engine, rpc),
        audit=_make_audit(conf),
    )


def _make_audit(conf: cfg.ConfigOpts) -> Callable[[WsgiApp], WsgiApp] | None:
    """Make what sends CADF events, if the configuration asks for it; events in wait are lost with the process."""
    path = conf.notifications.audit_map_file
    if not path:
        return None
    notifier = operations.make_notifier(conf)
    if notifier is None:
        raise errors.ConfigurationError(
            'Option audit_map_file in [notifications] is set, but driver in [oslo_messaging_notifications] is not: '
            'nobody would be sent the events.'
        )
    from multiattach.api import cadf  # pycadf costs, and only this needs it
    from multiattach.notifications.audit import AuditSender

    sender = AuditSender(notifier, conf.notifications.queue_size)
    try:
        cadf.check_map(path)
    except (OSError, ValueError, configparser.Error) as exc:
        raise errors.ConfigurationError(f'Option audit_map_file in [notifications]: {exc}') from exc
    return lambda application: cadf.AuditFilter(application, path, sender.tell)


def check_strategy(conf: cfg.ConfigOpts) -> None:
    """See that somebody decided how callers are known, and say it aloud where they are not.

    :raises ConfigurationError: nobody did.
    """
    if conf.api.auth_strategy is None:
        raise errors.ConfigurationError(
            'Option auth_strategy in [api] is not set: "keystone", with the options of [keystone_authtoken], '
            'or "noauth", which makes an administrator of everybody who reaches the API.'
        )
    if conf.api.auth_strategy == 'noauth':
        LOG.warning(NOAUTH)


def _make_checks(conf: cfg.ConfigOpts, engine: Engine, rpc: messaging.Transport | None) -> dict[str, health.Check]:
    checks: dict[str, health.Check] = {
        'database': functools.partial(migration.check, engine.db),
        'policy': lambda: _check_policy(conf, engine),
    }
    if rpc is not None:
        checks['broker'] = lambda: broker.check(rpc)
    return checks


def _check_policy(conf: cfg.ConfigOpts, engine: Engine) -> None:
    try:
        engine.policy.reload()
    except Exception as exc:
        raise errors.ConfigurationError(parts.explain_policy(conf, exc)) from exc


def _find_strategy(conf: cfg.ConfigOpts, engine: Engine) -> Middleware | None:
    if conf.api.auth_strategy != 'keystone':
        return None
    from multiattach.api import keystone  # keystonemiddleware costs, and only this needs it

    return keystone.make_strategy(conf, engine.policy)
