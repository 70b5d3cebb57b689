# SPDX-License-Identifier: Apache-2.0
"""Images with data in some of their objects."""

import contextlib
import threading
import time

BLOCK = 4 << 20  # bytes of an object


def go_on():
    return True


def fill(store, volume_id, count=64):
    """Have a volume with some data in as many objects."""
    store.backend.create(volume_id, 1)
    with store.open(volume_id) as image:
        for number in range(count):
            image.write(bytes([number]) * 4096, number * BLOCK)


def check_filled(store, volume_id, count=64):
    with store.open(volume_id) as image:
        assert all(image.read(number * BLOCK, 4096) == bytes([number]) * 4096 for number in range(count))
        assert image.read(count * BLOCK, 4096) == bytes(4096)


def list_snapshots(store, volume_id):
    with store.open(volume_id) as image:
        return [one['name'] for one in image.list_snaps()]


@contextlib.contextmanager
def slow_osd(ceph):
    """Let the OSD work for a tenth of the time only."""
    done = threading.Event()

    def run():
        while not done.is_set():
            with ceph.frozen('osd.0'):
                time.sleep(0.09)
            time.sleep(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
