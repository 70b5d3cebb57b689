# SPDX-License-Identifier: Apache-2.0
"""Where a WSGI application has its configuration from: the server's command line is not ours."""

import os

from oslo_config import cfg

from multiattach import conf as configuration

VARIABLE = 'MULTIATTACH_CONFIG_FILES'


def load(description: str) -> cfg.ConfigOpts:
    """Read the files that the environment names, else those where oslo.config looks."""
    names = os.environ.get(VARIABLE, '')
    args = [part for name in names.split(':') if name for part in ('--config-file', name)]
    return configuration.load(args, program='multiattach-wsgi', description=description)
