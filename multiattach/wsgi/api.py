# SPDX-License-Identifier: Apache-2.0
"""``application``: the REST API for a WSGI server.

The server's command line is not ours: configuration files are found where oslo.config looks,
or are named, separated by colons, in the environment variable ``MULTIATTACH_CONFIG_FILES``.
"""

import os
from typing import Any

from multiattach import conf as configuration
from multiattach.cmd import parts
from multiattach.cmd.application import make_application


def make() -> Any:
    """Make the application from the configuration files.

    :returns: a WSGI application.
    :raises ConfigurationError: the message names the option.
    """
    names = os.environ.get('MULTIATTACH_CONFIG_FILES', '')
    args = [part for name in names.split(':') if name for part in ('--config-file', name)]
    conf = configuration.load(args, program='multiattach-wsgi', description='Serves the REST API.')
    engine = parts.build_engine(conf, parts.open_database(conf), parts.open_transport(conf))
    engine.types.ensure_default()
    return make_application(conf, engine)


application = make()
