# SPDX-License-Identifier: Apache-2.0
"""os-brick's connector for images, in a process of its own: connects, writes, reads, disconnects.

It takes a connection_info as JSON from stdin and prints what it read.
"""

import json
import sys

from multiattach.drivers.ceph import library

library.load()  # os-brick looks for them when it is imported, where a virtual environment has none

from os_brick.initiator import connector  # noqa: E402

words = json.load(sys.stdin)
brick = connector.InitiatorConnector.factory('RBD', 'sudo', do_local_attach=False)
handle = brick.connect_volume(words['info'])['path']
if words['write']:
    handle.write(words['write'].encode())
    handle.flush()
    handle.seek(0)
print(handle.read(words['length']).decode())
brick.disconnect_volume(words['info'], {'path': handle})
