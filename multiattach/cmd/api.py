# SPDX-License-Identifier: Apache-2.0
"""multiattach-api: the REST API on its own HTTP server.

For many requests run ``multiattach.wsgi.api:application`` under uWSGI or gunicorn instead.
"""

import contextlib
import sys
from collections.abc import Sequence

from multiattach import conf as configuration, listening
from multiattach.cmd import operations, parts, run
from multiattach.cmd.application import NOAUTH, make_application
from multiattach.cmd.server import HttpServer
from multiattach.rpc import broker


def serve(args: Sequence[str]) -> None:
    """Serve the API until a signal comes."""
    conf = configuration.load(args, program='multiattach-api', description='Serves the REST API.')
    stop = run.Stop()
    with contextlib.ExitStack() as stack:
        db = parts.open_database(conf)
        stack.callback(db.close)
        # Without a broker the API still shows what there is; /healthcheck tells of it.
        rpc = parts.open_transport(conf, check=False)
        stack.callback(broker.close, rpc)
        engine = parts.build_engine(conf, db, rpc)
        engine.types.ensure_default()
        stack.callback(operations.start(conf, 'multiattach-api', db, counts_rows=True))
        server = HttpServer(
            make_application(conf, engine, rpc),
            conf.api.listen_host,
            conf.api.listen_port,
            conf.api.threads,
            proxied=conf.oslo_middleware.enable_proxy_headers_parsing,
        )
        server.start()
        stack.callback(server.stop)
        if conf.api.auth_strategy == 'noauth':
            print(f'multiattach-api: {NOAUTH}', file=sys.stderr, flush=True)
        told = listening.Address(listening.find_near(conf.api.listen_host), server.port)
        print(f'multiattach-api is ready at http://{told}/v3', flush=True)
        stop.wait()


def main() -> int:
    return run.run_program(serve)


if __name__ == '__main__':
    sys.exit(main())
