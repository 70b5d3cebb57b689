# SPDX-License-Identifier: Apache-2.0
"""Runs inside a compute host: logs in by a connection_info from stdin, and prints the device."""

import json
import sys

from multiattach.drivers.connectors.brick import BrickConnector


def main() -> None:
    connector = BrickConnector('compute', '', lock_path='/run/os-brick', udev_timeout=60, portal_timeout=60)
    info = json.load(sys.stdin)
    device = connector.connect(info)
    connector.verify(device, info)
    print(device.path)


if __name__ == '__main__':
    main()
