# SPDX-License-Identifier: Apache-2.0
"""What every program has for its operator: metrics, notifications, and a report at SIGUSR2."""

import contextlib
import os
import pathlib
import signal
from collections.abc import Callable
from typing import Any

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_log import log

from multiattach import listening, signals
from multiattach.cmd import parts
from multiattach.cmd.server import HttpServer
from multiattach.db.database import Database
from multiattach.domain import errors, release
from multiattach.notifications.sender import Sender
from multiattach.rpc import transport

LOG = log.getLogger(__name__)
_MULTIPROCESS = 'PROMETHEUS_MULTIPROC_DIR'
# Of the server of the metrics; a few Prometheus servers, and a person with a browser.
_THREADS = 2
_CONNECTIONS = 32
_NEEDS_BROKER = ('messaging', 'messagingv2')


class _Version:
    """What oslo.reports prints of a release."""

    vendor_string = staticmethod(lambda: 'multiattach developers')
    product_string = staticmethod(lambda: release.PACKAGE)
    version_string_with_package = staticmethod(release.version)


def _prepare_report(conf: cfg.ConfigOpts, program: str, *, by_signal: bool) -> None:
    def prepare() -> None:
        # Late: it is 3 MiB in each process, and few ever ask for a report.
        from oslo_reports import guru_meditation_report

        guru_meditation_report.TextGuruMeditation.setup_autorun(
            _Version, service_name=program, conf=conf, setup_signal=by_signal
        )

    def begin(number: int, _frame: Any) -> None:
        prepare()  # which handles the signal from now on
        os.kill(os.getpid(), number)

    if conf.oslo_reports.file_event_handler:
        prepare()
    elif by_signal:
        signal.signal(signal.SIGUSR2, begin)


def start(
    conf: cfg.ConfigOpts,
    program: str,
    db: Database,
    *,
    targets: parts.TargetDrivers | None = None,
    counts_rows: bool = False,
) -> Callable[[], None]:
    """Start what the configuration asks for; return what ends it all.

    :param targets: target drivers whose sessions are counted.
    :param counts_rows: count what is stuck; one program of a deployment is enough.
    :raises ConfigurationError: the message names the option.
    """
    with contextlib.ExitStack() as stack:
        _prepare_report(conf, program, by_signal=True)
        stack.callback(_start_metrics(conf, program, db, targets, counts_rows))
        stack.callback(start_notifications(conf, db))
        return stack.pop_all().close
    raise AssertionError  # the context manager swallows nothing


def start_in_wsgi(conf: cfg.ConfigOpts, db: Database) -> None:
    """Start what a process of a WSGI server can have; signals and ports are the server's.

    :raises ConfigurationError: the message names the option.
    """
    _prepare_report(conf, 'multiattach-wsgi', by_signal=False)
    if conf.metrics.multiprocess_dir:
        share_metrics(conf)
        _install_sink('multiattach-wsgi', db)
    elif conf.metrics.listen:
        LOG.warning(
            'Option listen in [metrics] is for programs with a server of their own: set '
            'multiprocess_dir and serve multiattach.wsgi.metrics:application'
        )
    start_notifications(conf, db)


def share_metrics(conf: cfg.ConfigOpts) -> None:
    """Have the processes of one WSGI server count together; before prometheus_client is imported.

    :raises ConfigurationError: the folder cannot be used.
    """
    folder = pathlib.Path(conf.metrics.multiprocess_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.ConfigurationError(
            f'Option multiprocess_dir in [metrics]: {folder} cannot be used: {exc.strerror}.'
        ) from exc
    os.environ[_MULTIPROCESS] = str(folder)


def _install_sink(program: str, db: Database) -> Any:
    # Late: without metrics nobody pays for the library, and it reads its environment when imported.
    from multiattach.metrics.prometheus import Prometheus

    sink = Prometheus(program)
    sink.watch_engine(db.engine)
    if db.read_engine.pool is not db.engine.pool:
        sink.watch_engine(db.read_engine)
    db.observe(sink.changed)
    signals.install(sink)
    return sink


def _start_metrics(
    conf: cfg.ConfigOpts, program: str, db: Database, targets: parts.TargetDrivers | None, counts_rows: bool
) -> Callable[[], None]:
    if not conf.metrics.listen:
        return lambda: None
    try:
        address = listening.parse(conf.metrics.listen)
    except ValueError as exc:
        raise errors.ConfigurationError(f'Option listen in [metrics] {exc}.') from exc
    sink = _install_sink(program, db)

    import prometheus_client

    from multiattach.metrics import collectors

    sources: dict[str, Callable[[], list[collectors.Gauge]]] = {}
    if counts_rows:
        sources['database'] = make_row_reader(conf, db)
    if targets is not None:
        sources['targets'] = lambda: collectors.read_targets(targets.drivers())
    if sources:
        sink.registry.register(collectors.Collector(sources))
    for collector in (
        prometheus_client.ProcessCollector,
        prometheus_client.PlatformCollector,
        prometheus_client.GCCollector,
    ):
        collector(registry=sink.registry)
    try:
        # Not the library's own server, which has a thread for each connection, however long it is idle.
        server = HttpServer(
            prometheus_client.make_wsgi_app(sink.registry),
            address.host,
            address.port,
            _THREADS,
            option='Option listen in [metrics]',
            most=_CONNECTIONS,
        )
    except errors.ConfigurationError:
        signals.remove(sink)
        raise
    server.start()

    def stop() -> None:
        signals.remove(sink)
        server.stop()

    return stop


def make_row_reader(conf: cfg.ConfigOpts, db: Database) -> Callable[[], list[Any]]:
    from multiattach.metrics import collectors

    return lambda: collectors.read_rows(db, conf.metrics.stuck_after, conf.service_down_time)


def start_notifications(conf: cfg.ConfigOpts, db: Database) -> Callable[[], None]:
    """Have others told of what this process commits, if the configuration asks for it; return what ends it."""
    notifier = make_notifier(conf)
    if notifier is None:
        return lambda: None
    sender = Sender(db, notifier, conf.notifications.queue_size)
    db.observe(sender.changed)
    return sender.stop


def make_notifier(conf: cfg.ConfigOpts) -> messaging.Notifier | None:
    """Make what sends notifications as ``[oslo_messaging_notifications]`` says; None if it names no driver.

    :raises ConfigurationError: the message names the option.
    """
    group = conf.oslo_messaging_notifications
    wanted = [name for name in group.driver if name != 'noop']
    if not wanted:
        return None
    url = group.transport_url or conf.transport_url or ''
    if url.startswith('inproc:') and any(name in _NEEDS_BROKER for name in wanted):
        raise errors.ConfigurationError(
            f'Option driver in [oslo_messaging_notifications] is {", ".join(wanted)}, but inproc:// '
            'carries no notifications: set transport_url in that group to a broker, or driver to log.'
        )
    try:
        return messaging.Notifier(
            transport.make_notification_transport(conf), 'volume', retry=conf.notifications.retries
        )
    except RuntimeError as exc:
        raise errors.ConfigurationError(f'Option driver in [oslo_messaging_notifications]: {exc}') from exc
