# SPDX-License-Identifier: Apache-2.0
"""multiattach-host: attaches volumes to the servers of this compute host."""

import contextlib
import sys
from collections.abc import Sequence

from multiattach import conf as configuration
from multiattach.cmd import hosts, operations, parts, run
from multiattach.domain import errors
from multiattach.rpc import broker


def serve(args: Sequence[str]) -> None:
    """Run the agent of this host until a signal comes."""
    conf = configuration.load(
        args,
        program='multiattach-host',
        description='Attaches volumes to the libvirt domains of this compute host.',
        rpc_connections=configuration.RPC_CONNECTIONS_OF_AGENT,
    )
    stop = run.Stop()
    with contextlib.ExitStack() as stack:
        db = parts.open_database(conf)
        stack.callback(db.close)
        rpc = parts.open_transport(conf)
        stack.callback(broker.close, rpc)
        stack.callback(operations.start(conf, 'multiattach-host', db))
        agent = hosts.make_host_agent(conf, db, rpc)
        stop.notify(agent.interrupt)
        try:
            agent.start()
        except (errors.Unavailable, errors.OutcomeUnknown):
            if stop.is_set:  # that is why
                return
            raise
        stack.callback(agent.stop)
        stop.wait()


def main() -> int:
    return run.run_program(serve)


if __name__ == '__main__':
    sys.exit(main())
