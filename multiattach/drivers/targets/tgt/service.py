# SPDX-License-Identifier: Apache-2.0
"""The target driver ``tgt`` as a program has it: made of its options, with a tgtd of its own if they say so."""

import contextlib
import pathlib
from typing import Any, Self

from oslo_log import log

from multiattach.conf import plugins, tgt as tgt_conf
from multiattach.domain import errors
from multiattach.drivers import values
from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets import portals
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from multiattach.trouble import Trouble

LOG = log.getLogger(__name__)
_PATIENCE = 2.0  # s


class TgtService(TgtTarget):
    """Targets of one tgtd; *process* is the tgtd if it is a private one, which ends with this driver."""

    OPTS = tgt_conf.OPTS
    OPTION_GROUP = tgt_conf.GROUP
    # Each worker of a cluster has one of its own.
    IS_GATEWAY = True

    def __init__(self, daemon: TgtDaemon, *, process: PrivateTgtd | None = None, **named: Any) -> None:
        super().__init__(daemon, **named)
        self._process = process
        self._trouble = Trouble(LOG, 'The private tgtd')

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        """Called from the main thread, as a private tgtd ends with the thread that starts it."""
        volumes_dir = pathlib.Path(options.volumes_dir) if options.volumes_dir else None
        if volumes_dir is not None:
            values.check_path('Option volumes_dir in [tgt]', volumes_dir)
        values.check_iqn_prefix('Option iqn_prefix in [tgt]', options.iqn_prefix)
        portal, listen = portals.read(tgt_conf.GROUP, options)
        process = _make_process(options, listen or portal) if options.private else None
        try:
            made = cls(
                process.start() if process else TgtDaemon(options.control_port or 0),
                process=process,
                portal=portal,
                listen=listen,
                iqn_prefix=options.iqn_prefix,
                write_cache=options.write_cache,
                volumes_dir=volumes_dir,
            )
            made.check()
        except (DriverError, OSError) as exc:
            if process is not None:
                process.stop()
            raise errors.ConfigurationError(
                f'Options of [tgt] cannot be used (control_port, portal, listen, private): {exc}'
            ) from exc
        return made

    def keep_alive(self) -> None:
        """Start a private tgtd again that died; the worker notices the new one and exports everything again."""
        if self._process is not None and not self._process.alive():
            self._trouble.note('died, and is started again')
            try:
                self._process.start()
            except DriverError as exc:
                self._trouble.note(f'cannot be started: {exc}')
            else:
                self._trouble.end()

    def reset(self) -> None:
        """Close all; a private tgtd is killed, also if it hangs, and its sessions end as those of one that died."""
        if self._process is None:
            super().reset()
            return
        with contextlib.suppress(DriverError), self.within(_PATIENCE):
            if not self.list_exports():
                return
        self._process.kill()

    @property
    def is_private(self) -> bool:
        return self._process is not None

    def close(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


def _make_process(options: Any, listen: str) -> PrivateTgtd:
    return PrivateTgtd(
        portal=listen,
        threads=options.driver_threads,
        control_port=options.control_port or None,
        log_path=pathlib.Path(options.log_file) if options.log_file else None,
    )
