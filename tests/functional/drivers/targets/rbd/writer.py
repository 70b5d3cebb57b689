# SPDX-License-Identifier: Apache-2.0
"""A host's client of Ceph, as a process: it writes numbered blocks at one place and says which were acknowledged.

    python writer.py CONF USER KEYRING POOL IMAGE OFFSET

A line ``N SECONDS`` (of the monotonic clock) for each block; ``error: …`` at the end, unless it is killed.
"""

import sys
import time

from multiattach.drivers.ceph import library

BLOCK = 4096


def main(conf: str, user: str, keyring: str, pool: str, name: str, offset: int) -> None:
    rados, rbd = library.load()
    connection = rados.Rados(rados_id=user, conffile=conf)
    connection.conf_set('keyring', keyring)
    for option in ('client_mount_timeout', 'rados_mon_op_timeout', 'rados_osd_op_timeout'):
        connection.conf_set(option, '30')
    number = 0
    try:
        connection.connect()
        with connection.open_ioctx(pool) as io, rbd.Image(io, name) as image:
            while True:
                image.write(b'%16d' % number + bytes(BLOCK - 16), offset)
                print(number, time.monotonic(), flush=True)
                number += 1
    except (rados.Error, rbd.Error) as exc:
        print(f'error: {exc}', flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:6], int(sys.argv[6]))  # type: ignore[arg-type]
