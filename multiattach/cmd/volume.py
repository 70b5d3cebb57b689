# SPDX-License-Identifier: Apache-2.0
"""multiattach-volume: makes volumes and exports them."""

import contextlib
import sys
from collections.abc import Sequence

from multiattach import conf as configuration, coordination
from multiattach.cmd import operations, parts, run
from multiattach.rpc import broker


def serve(args: Sequence[str]) -> None:
    """Run the workers of all enabled backends until a signal comes."""
    conf = configuration.load(
        args, program='multiattach-volume', description='Creates volumes and exports them over iSCSI.'
    )
    stop = run.Stop()
    with contextlib.ExitStack() as stack:
        db = parts.open_database(conf)
        stack.callback(db.close)
        rpc = parts.open_transport(conf)
        stack.callback(broker.close, rpc)
        coordinator = parts.start_coordinator(conf, 'volume')
        stack.callback(coordination.disconnect, coordinator)
        targets = parts.TargetDrivers(conf)
        stack.callback(targets.stop)
        stack.callback(operations.start(conf, 'multiattach-volume', db, targets=targets))
        for worker in parts.make_volume_workers(conf, db, rpc, targets, coordinator):
            worker.start()
            stack.callback(worker.stop)
        stop.wait(targets.keep_alive)


def main() -> int:
    return run.run_program(serve)


if __name__ == '__main__':
    sys.exit(main())
