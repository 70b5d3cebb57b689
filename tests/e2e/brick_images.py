# SPDX-License-Identifier: Apache-2.0
"""Runs inside a compute host: os-brick's connector for images, with the kernel's client or with librbd.

``brick_images.py kernel|library TEXT`` takes a connection_info as JSON from stdin, writes TEXT to the volume's first
block, reads that back past all caches and prints it; of what is refused it prints why.
"""

import json
import mmap
import os
import sys

from multiattach.drivers.ceph import library

BLOCK = 4096

library.load()  # os-brick looks for them when it is imported, where a virtual environment has none

from os_brick import exception, privileged  # noqa: E402
from os_brick.initiator import connector  # noqa: E402
from oslo_concurrency import processutils  # noqa: E402
from oslo_config import cfg  # noqa: E402


def use_device(path: str, data: bytes) -> bytes:
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        buffer = mmap.mmap(-1, BLOCK)  # O_DIRECT needs whole pages
        buffer.write(data)
        os.pwrite(fd, buffer, 0)
        os.preadv(fd, [buffer], 0)
        return bytes(buffer)
    finally:
        os.close(fd)


def main() -> None:
    kind, text = sys.argv[1:]
    info, data = json.load(sys.stdin), text.encode().ljust(BLOCK, b'.')
    cfg.CONF([], project='brick')
    cfg.CONF.set_override('lock_path', '/run', group='os_brick')
    for context in (privileged.default, privileged.brick_privsep_hide_output):
        context.set_client_mode(False)
    brick = connector.InitiatorConnector.factory('RBD', 'sudo', do_local_attach=kind == 'kernel')
    try:
        found = brick.connect_volume(info)
    except (exception.BrickException, processutils.ProcessExecutionError) as exc:
        print('refused:', ' '.join(str(exc).split()))
        return
    if kind == 'kernel':
        print(use_device(found['path'], data).decode())
    else:
        found['path'].write(data)
        found['path'].flush()
        found['path'].seek(0)
        print(found['path'].read(BLOCK).decode())
    brick.disconnect_volume(info, found)


if __name__ == '__main__':
    main()
