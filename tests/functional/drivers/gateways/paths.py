# SPDX-License-Identifier: Apache-2.0
"""A host with a path to each gateway: what one does not answer it repeats at the next one, as multipath does."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from tests.functional.cluster.client import Place
from tests.functional.drivers.targets.tgt.initiator import BLOCK, IoFailed, LoginRefused, Session
from tests.testbed.polling import wait_until

SPAN = 64  # blocks that are written in turn
_PATIENCE = 2  # s for one command on one path
_LONGEST = 60.0  # s without any path


def login(place: Place, portal: str, timeout: int = 10) -> Session:
    """Log in with what the API has told."""
    info = place.info
    words = (info['target_iqn'], place.connector['initiator'], info['auth_username'], info['auth_password'])
    return Session(portal, *words, timeout)


class PathWriter:
    """Writes numbered blocks, each until it is acknowledged.

    :param start: first block of its own.
    """

    def __init__(self, place: Place, portals: Sequence[str], start: int) -> None:
        self._place = place
        self._portals = list(portals)
        self._start = start
        self._session: Session | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged = 0
        self.pause = 0.0  # s, the longest between two acknowledgements
        self.failure: Exception | None = None

    def __enter__(self) -> 'PathWriter':
        self._thread.start()
        self.wait_progress()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._session is not None:
            with contextlib.suppress(Exception):
                self._session.close()

    def wait_progress(self, writes: int = 5, seconds: float = 60) -> None:
        before = self.acknowledged
        wait_until(lambda: self.acknowledged >= before + writes or self.failure, seconds, 'writes go on', 0.02)
        assert self.failure is None, self.failure

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            data = b'%d' % self.acknowledged
            try:
                self._write(self._start + self.acknowledged % SPAN, data.ljust(BLOCK))
            except Exception as exc:
                self.failure = exc
                return
            self.acknowledged += 1
            now = time.monotonic()
            self.pause, last = max(self.pause, now - last), now

    def _write(self, block: int, data: bytes) -> None:
        deadline = time.monotonic() + _LONGEST
        while True:
            try:
                if self._session is None:
                    self._session = login(self._place, self._portals[0], _PATIENCE)
                self._session.write(block, data)
                return
            except (IoFailed, LoginRefused):
                if time.monotonic() > deadline or self._stopping.is_set():
                    raise
                self._session = None  # its connection is gone, or will be when it is collected
                self._portals.append(self._portals.pop(0))
                time.sleep(0.05)

    def check(self, read: Callable[[], bytes]) -> None:
        """See that each of the last writes that were acknowledged is there, and nothing older.

        :param read: reads all blocks from the first of its own on; it may go on writing meanwhile.
        """
        known = self.acknowledged  # before the read: what is acknowledged later need not be in it
        image = read()
        for number in range(max(0, known - SPAN), known):
            at = number % SPAN * BLOCK
            found = int(image[at : at + BLOCK])
            assert found >= number, (number, found, known)
            assert (found - number) % SPAN == 0, (number, found, known)
