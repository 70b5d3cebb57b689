# SPDX-License-Identifier: Apache-2.0
"""How ``openstack`` finds the commands (entry point group ``openstack.cli.extension``)."""

import argparse
import os
from typing import Any

API_NAME = 'multiattach'
API_VERSION_OPTION = 'os_multiattach_api_version'
DEFAULT_API_VERSION = '1'
API_VERSIONS = {'1': 'multiattach.client.proxy.Proxy'}


def make_client(instance: Any) -> Any:
    """Make the client of the commands, once one of them needs it."""
    # Here, so that every other command of "openstack" need not load it.
    from multiattach.client.proxy import make_proxy

    return make_proxy(instance.sdk_connection)


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the global option that every plugin has."""
    parser.add_argument(
        '--os-multiattach-api-version',
        metavar='<multiattach-api-version>',
        default=os.environ.get('OS_MULTIATTACH_API_VERSION', ''),
        help=f'Version of the multiattach commands, default={DEFAULT_API_VERSION} (Env: OS_MULTIATTACH_API_VERSION)',
    )
    return parser
