# SPDX-License-Identifier: Apache-2.0
"""``application``: the REST API for a WSGI server.

The server's command line is not ours: configuration files are found where oslo.config looks,
or are named, separated by colons, in the environment variable ``MULTIATTACH_CONFIG_FILES``.
"""

import contextlib
import gc
import importlib
import threading
from collections.abc import Callable, Iterable
from typing import Any

from multiattach import failpoints
from multiattach.api.faults import WsgiApp
from multiattach.cmd import operations, parts
from multiattach.cmd.application import check_strategy, make_application
from multiattach.wsgi import arrivals, chunked, files


class Application:
    """The API, made in the process that serves it.

    uWSGI may load this module before it forks: what is imported is shared by its processes then, which
    saves half of their memory, while connections and threads must be made after.
    """

    def __init__(self) -> None:
        self._conf = files.load('Serves the REST API.')
        self._lock = threading.Lock()
        self._made: WsgiApp | None = None

    def make(self) -> WsgiApp:
        """Make the application from the configuration files, once."""
        with self._lock:
            if self._made is None:
                conf = self._conf
                db = parts.open_database(conf)
                # Without a broker the API still shows what there is; /healthcheck tells of it.
                rpc = parts.open_transport(conf, check=False)
                engine = parts.build_engine(conf, db, rpc)
                engine.types.ensure_default()
                operations.start_in_wsgi(conf, db)
                made = arrivals.note(make_application(conf, engine, rpc))
                self._made = chunked.accept_chunks(made, conf.oslo_middleware.max_request_body_size)
            return self._made

    def check(self) -> None:
        """Find out whether the application can be made, and leave nothing open."""
        check_strategy(self._conf)
        parts.open_database(self._conf).close()
        parts.make_policy(self._conf)
        gc.collect()
        gc.freeze()  # what is never freed is not written to either, and stays shared

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return (self._made or self.make())(environ, start_response)


def _start() -> Application:
    failpoints.check()
    made = Application()
    server: Any = None
    with contextlib.suppress(ImportError):
        server = importlib.import_module('uwsgi')  # there is one inside uWSGI only
    if server is not None and server.worker_id() == 0:
        made.check()
        server.post_fork_hook = made.make
    else:
        made.make()
    return made


application = _start()
