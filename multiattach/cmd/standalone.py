# SPDX-License-Identifier: Apache-2.0
"""multiattach-standalone: every role in one process, for one machine.

SQLite, messages inside the process, volumes in files and a private tgtd; no other server.
"""

import argparse
import contextlib
import fcntl
import os
import pathlib
import sys
import threading
from collections.abc import Iterator, Sequence

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_log import log
from tooz.coordination import CoordinationDriver

from multiattach import conf as configuration, coordination, listening
from multiattach.cmd import clouds, hosts, operations, parts, places, run
from multiattach.cmd.application import NOAUTH, make_application
from multiattach.cmd.server import HttpServer
from multiattach.db import migration
from multiattach.db.database import Database
from multiattach.domain import errors, release
from multiattach.drivers import values
from multiattach.rpc import transport

LOG = log.getLogger(__name__)
_PATIENCE = 2.0  # s; a start that takes longer says on the terminal, too, what it waits for
_DATABASE_FILE = 'multiattach.sqlite'
_PORTAL_FILE = 'portal'
_PORTAL_PORT = 3260  # RFC 3720 section 13; a tgtd of the distribution has it, where one runs
_PORTALS = 100

_EPILOG = """\
example:
  multiattach-standalone --state-dir ./state --listen 127.0.0.1:8776
  export OS_CLIENT_CONFIG_FILE=./state/clouds.yaml
  openstack --os-cloud multiattach volume list
"""


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='multiattach-standalone',
        epilog=_EPILOG,
        description='Runs every role in one process: API, volume worker with a private tgtd, and '
        'a host agent where libvirt answers.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--state-dir',
        required=True,
        type=pathlib.Path,
        metavar='DIR',
        help='directory for the database, volumes, locks and clouds.yaml; created if it does not exist',
    )
    parser.add_argument(
        '--listen',
        required=True,
        metavar='HOST:PORT',
        help='address of the API and of the embedded target; 0.0.0.0 or [::] for all addresses, '
        'of which hosts are given the one with the default route',
    )
    parser.add_argument(
        '--config-file', action='append', default=[], metavar='FILE', help='configuration file; repeatable'
    )
    parser.add_argument('--debug', action='store_true', help='enable debug logging')
    parser.add_argument('--version', action='version', version=f'%(prog)s {release.version()}')
    return parser.parse_args(args)


def _parse_address(text: str) -> tuple[listening.Address, str]:
    """Read where to listen; return what hosts are told, too."""
    try:
        address = listening.parse(text)
    except ValueError as exc:
        raise errors.ConfigurationError(f'Option --listen {exc}.') from exc
    try:
        return address, listening.find_told(address.host)
    except OSError as exc:
        raise errors.ConfigurationError(
            f'Option --listen: {address.host} has no address ({exc.strerror or exc}).'
        ) from exc


def _find_portal(state: pathlib.Path, host: str) -> listening.Address:
    """Find where the embedded tgtd listens: where it did before, as attached servers know the port."""
    file = state / _PORTAL_FILE
    address = listening.resolve(host)[0][1]
    if file.exists():
        try:
            port = listening.parse_portal(file.read_text()).port
        except (OSError, ValueError) as exc:
            raise errors.ConfigurationError(
                f"Option --state-dir: {file} cannot be used ({exc}). It has the portal of this folder's "
                'volumes, ADDRESS:PORT.'
            ) from exc
    elif (state / _DATABASE_FILE).exists():
        port = _PORTAL_PORT  # a release before kept it nowhere
    else:
        port = next(
            (
                one
                for one in range(_PORTAL_PORT, _PORTAL_PORT + _PORTALS)
                if listening.is_free(listening.Address(address, one))
            ),
            _PORTAL_PORT,
        )
    return listening.Address(address, port)


def _load(options: argparse.Namespace, state: pathlib.Path, host: str, told: str) -> cfg.ConfigOpts:
    listen = _find_portal(state, host)
    portal = str(listening.Address(told, listen.port))
    args = [part for name in options.config_file for part in ('--config-file', name)]
    if not options.config_file:
        args = ['--config-dir', str(state)]  # no stray file of the machine takes part
    if options.debug:
        args.append('--debug')
    conf = configuration.load(
        args,
        program='multiattach-standalone',
        description='Runs every role in one process.',
        defaults={
            ('api', 'auth_strategy'): 'noauth',
            ('DEFAULT', 'state_path'): str(state),
            ('DEFAULT', 'transport_url'): 'inproc://',
            ('DEFAULT', 'log_file'): str(state / 'multiattach.log'),
            ('database', 'connection'): f'sqlite:///{state}/{_DATABASE_FILE}',
            ('tgt', 'private'): True,
            ('tgt', 'portal'): portal,
            ('tgt', 'log_file'): str(state / 'tgtd.log'),
            ('host_agent', 'my_ip'): told,
        },
    )
    if conf.tgt.portal == portal:  # no file says another
        (state / _PORTAL_FILE).write_text(f'{portal}\n')
        if listening.is_wildcard(listen.host):
            conf.set_default('listen', str(listen), group='tgt')
    return conf


@contextlib.contextmanager
def _own(state: pathlib.Path) -> Iterator[None]:
    """Take the state folder for this process alone."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        closed = places.close_folder('Option --state-dir', state)
        lock = (state / 'standalone.lock').open('w')
    except OSError as exc:
        raise errors.ConfigurationError(f'Option --state-dir: {state} cannot be used: {exc.strerror}.') from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise errors.ConfigurationError(
                f'Option --state-dir: another multiattach-standalone runs in {state}.'
            ) from exc
        if closed:
            print(
                f'{closed} folders and files in {state}, which keeps CHAP secrets, were open to other '
                'users; they are closed now.',
                flush=True,
            )
        yield


def serve(args: Sequence[str]) -> None:
    """Run every role until a signal comes."""
    options = _parse(args)
    address, told = _parse_address(options.listen)
    state = options.state_dir.absolute()
    values.check_path('Option --state-dir', state)
    os.umask(0o077)  # whatever is made from here on: database, volumes, logs, sockets
    stop = run.Stop()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_own(state))
        conf = _load(options, state, address.host, told)
        db = parts.open_database(conf, check=False)
        stack.callback(db.close)
        migration.sync(db)
        rpc = transport.make_transport(conf)
        stack.callback(rpc.cleanup)
        engine = parts.build_engine(conf, db, rpc)
        engine.types.ensure_default()
        server = HttpServer(
            make_application(conf, engine, rpc),
            address.host,
            address.port,
            conf.api.threads,
            option='Option --listen',
            proxied=conf.oslo_middleware.enable_proxy_headers_parsing,
        )
        coordinator = parts.start_coordinator(conf, 'standalone')
        stack.callback(coordination.disconnect, coordinator)
        targets = _start_workers(stack, conf, db, rpc, coordinator)
        agents = stack.enter_context(contextlib.ExitStack())  # ends after the API, which asks them
        # Before the agent: libvirt and servers that hang keep nobody from the API.
        server.start()
        stack.callback(server.stop)
        note = _start_agent(agents, conf, db, rpc, stop)
        _tell(conf, state, listening.Address(told, server.port), note)
        stop.wait(targets.keep_alive)
        print('multiattach stops', flush=True)
    print('multiattach has stopped', flush=True)


def _start_workers(
    stack: contextlib.ExitStack,
    conf: cfg.ConfigOpts,
    db: Database,
    rpc: messaging.Transport,
    coordinator: CoordinationDriver,
) -> parts.TargetDrivers:
    targets = parts.TargetDrivers(conf)
    stack.callback(targets.stop)
    stack.callback(operations.start(conf, 'multiattach-standalone', db, targets=targets, counts_rows=True))
    for worker in parts.make_volume_workers(conf, db, rpc, targets, coordinator):
        worker.start()
        stack.callback(worker.stop)
    return targets


def _start_agent(
    stack: contextlib.ExitStack, conf: cfg.ConfigOpts, db: Database, rpc: messaging.Transport, stop: run.Stop
) -> str:
    """Start a host agent if the configuration wants one; return what to tell about it."""
    if conf.host_agent.enabled == 'no':
        return 'no host agent (option enabled in [host_agent])'
    group = conf.host_agent
    whom = f'libvirt at {group.libvirt_uri}' if group.hypervisor == 'libvirt' else f'the driver {group.hypervisor}'
    note = f'The API answers, and the host agent waits for {whom}'
    LOG.info(note)
    told = threading.Timer(_PATIENCE, print, (f'{note} (the log says more)',), {'flush': True})
    told.daemon = True
    told.start()
    try:
        agent = hosts.make_host_agent(conf, db, rpc)
        stop.notify(agent.interrupt)
        agent.start()
    except (errors.ConfigurationError, errors.HostError, errors.Unavailable, errors.OutcomeUnknown) as exc:
        if conf.host_agent.enabled == 'yes' and not stop.is_set:
            raise
        return f'no host agent: {exc.message}'
    finally:
        told.cancel()
    stack.callback(agent.stop)
    return f'host agent of {conf.host} with {whom}'


def _tell(conf: cfg.ConfigOpts, state: pathlib.Path, address: listening.Address, note: str) -> None:
    base = f'http://{address}'
    hint = 'openstack volume list, with an account of your Keystone'
    if conf.api.auth_strategy != 'keystone':
        path = state / 'clouds.yaml'
        path.write_text(clouds.render_clouds_yaml(base))
        hint = f'OS_CLIENT_CONFIG_FILE={path} openstack --os-cloud multiattach volume list'
        print(f'multiattach-standalone: {NOAUTH}', flush=True)
    print(
        f'multiattach is ready\n  block storage: {base}/v3\n  compute:       {base}/compute/v2.1\n'
        f'  {note}\n  log:           {state}/multiattach.log\n'
        f'Try: {hint}',
        flush=True,
    )


def main() -> int:
    return run.run_program(serve)


if __name__ == '__main__':
    sys.exit(main())
