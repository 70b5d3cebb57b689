# SPDX-License-Identifier: Apache-2.0
"""Configuration: every option, and how a program reads its files.

Options are registered on a ``cfg.ConfigOpts`` that is passed on; nothing here is global but
the choice of ``cfg.CONF``, which oslo.messaging needs.
"""

from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log
from oslo_messaging import opts as messaging_opts
from oslo_messaging._drivers import impl_rabbit
from oslo_policy import opts as policy_opts
from oslo_reports import opts as report_opts

from multiattach.conf import (
    api,
    base,
    coordination,
    glance,
    host,
    leases,
    lio,
    metrics,
    notifications,
    nova,
    plugins,
    quota,
    reconcile,
    tgt,
    volume,
)
from multiattach.domain import errors, host_names, release

PROJECT = 'multiattach'
_TARGETS = (tgt, lio)
_WATCH = (metrics, notifications, reconcile)
_GROUPS = (base, api, quota, nova, glance, volume, *_TARGETS, host, coordination, leases, *_WATCH)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register every option; doing it twice does no harm."""
    for module in _GROUPS:
        conf.register_opts(module.OPTS, group=_group(module.GROUP))
    nova.register_auth(conf)
    glance.register_auth(conf)
    conf.register_opts(db_options.database_opts, group='database')
    for group, opts in messaging_opts.list_opts():
        # transport_url, rpc_response_timeout and the notifier's; drivers register their own
        if group in (None, 'oslo_messaging_notifications'):
            conf.register_opts(opts, group=group)
    report_opts.set_defaults(conf)


def _group(name: str) -> str | None:
    return None if name == 'DEFAULT' else name


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return every option by group, for the sample generator."""
    listed = [(module.GROUP, list(module.OPTS)) for module in _GROUPS]
    backend = [*volume.BACKEND_OPTS, *volume.FILE_OPTS, *volume.LVM_OPTS, *volume.RBD_OPTS, *volume.RBD_TARGET_OPTS]
    accounts = [(module.GROUP, module.list_auth_opts()) for module in (nova, glance)]
    return [*listed, *accounts, ('file', backend), *plugins.list_foreign_opts()]


# A worker answers 64 calls at once (executor_thread_pool_size), and as many fences. None is opened unasked.
RPC_CONNECTIONS = 130
# An agent sends in moments, and waits without a connection. Hundreds of agents at work at once must not open tens each.
RPC_CONNECTIONS_OF_AGENT = 8


def set_library_defaults(rpc_connections: int = RPC_CONNECTIONS) -> None:
    """Set defaults of library options that fit this service."""
    policy_opts.set_defaults(cfg.CONF, policy_file='policy.yaml')
    cfg.set_defaults(impl_rabbit.rabbit_opts, rpc_conn_pool_size=rpc_connections)
    log.set_defaults(
        default_log_levels=[
            *log.get_default_log_levels(),
            'oslo_db=WARN',
            'tooz=WARN',
            'os_brick=INFO',
            'oslo.privsep.daemon=WARN',
            'waitress=INFO',
            'alembic=WARN',
            # It warns at each look of a balancer that no file was named.
            'oslo_middleware.healthcheck.disable_by_file=ERROR',
        ]
    )


def load(
    args: Sequence[str],
    *,
    program: str,
    description: str,
    cli_opts: Sequence[cfg.Opt] = (),
    defaults: dict[tuple[str, str], Any] | None = None,
    check: bool = True,
    epilog: str | None = None,
    rpc_connections: int = RPC_CONNECTIONS,
) -> cfg.ConfigOpts:
    """Read a program's configuration files and its command line, and set up logging.

    :param cli_opts: options of this program alone.
    :param defaults: defaults by (group, option) that this program changes.
    :param check: refuse a wrong value at once, and not when it is read.
    :param rpc_connections: default of how many connections to a broker are kept at most.
    :raises ConfigurationError: the message names the option.
    """
    conf = cfg.CONF
    conf.reset()
    register_opts(conf)
    log.register_options(conf)
    set_library_defaults(rpc_connections)
    if cli_opts:
        conf.register_cli_opts(list(cli_opts))
    for (group, name), value in (defaults or {}).items():
        conf.set_default(name, value, group=_group(group))
    try:
        conf(
            list(args),
            project=PROJECT,
            prog=program,
            description=description,
            epilog=epilog,
            version=f'{program} {release.version()}',
        )
        if check:
            verify(conf)
        log.setup(conf, PROJECT)
    except cfg.ConfigFilesNotFoundError as exc:
        raise errors.ConfigurationError(f'Option --config-file: {exc}') from exc
    except (cfg.Error, ValueError) as exc:
        raise errors.ConfigurationError(f'The configuration is wrong: {exc}') from exc
    return conf


def verify(conf: cfg.ConfigOpts) -> None:
    """Read every own option once: oslo.config checks a value only when it is read."""
    for module in _GROUPS:
        default = module.GROUP == 'DEFAULT'
        section = conf if default else conf[module.GROUP]
        # Other groups hold what libraries registered there, too: of [nova] the options of sessions.
        for name in [opt.dest for opt in module.OPTS] if default else list(section):
            try:
                section[name]
            except cfg.ConfigFileValueError as exc:
                raise errors.ConfigurationError(f'Option {name} in [{module.GROUP}]: {exc}') from exc
    if not host_names.is_valid(conf.host):
        raise errors.ConfigurationError(
            f"Option host in [DEFAULT]: {conf.host!r} can be no host's name: 1 to {host_names.MAX_LENGTH} "
            'printable characters, and no blanks at its ends.'
        )
