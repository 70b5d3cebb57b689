# SPDX-License-Identifier: Apache-2.0
"""Clients side by side, for a bounded time, and what they saw."""

import dataclasses
import statistics
import threading
import time
from collections.abc import Callable

from tests.benchmarks.wire import Endpoint, Wire


@dataclasses.dataclass
class Result:
    """What a load gave.

    :param done: operations that ended well.
    :param seconds: from the first start to the last end.
    :param latencies: seconds of each operation.
    :param failures: texts of those that did not.
    """

    done: int
    seconds: float
    latencies: list[float]
    failures: list[str]

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.done / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds within which a share of the operations ended.

        :param share: 0 to 1.
        """
        if not self.latencies:
            return float('nan')
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    @property
    def median(self) -> float:
        """Median in milliseconds."""
        return statistics.median(self.latencies) * 1000 if self.latencies else float('nan')


def run(
    endpoint: Endpoint, clients: int, work: Callable[[Wire, int], None], *, seconds: float, once: bool = False
) -> Result:
    """Let clients repeat an operation.

    :param endpoint: where to.
    :param clients: number of clients, each with a connection of its own.
    :param work: one operation; gets the connection and the client's number.
    :param seconds: after this long no operation is begun.
    :param once: each client does one operation only.
    :returns: what they saw; a client whose operation failed goes on, after ten failures no more.
    """
    start = threading.Barrier(clients + 1)
    latencies: list[list[float]] = [[] for _ in range(clients)]
    failures: list[str] = []

    def client(number: int) -> None:
        wire, failed = Wire(endpoint), 0
        wire.call('GET', '/volumes?limit=1')
        start.wait()
        end = time.monotonic() + seconds
        while failed < 10:
            began = time.monotonic()
            if began >= end:
                break
            try:
                work(wire, number)
                latencies[number].append(time.monotonic() - began)
            except Exception as exc:
                failed += 1
                failures.append(f'{type(exc).__name__}: {exc}')
            if once:
                break
        wire.close()

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    start.wait(60)
    began = time.monotonic()
    for thread in threads:
        thread.join(seconds + 180)
    spent = time.monotonic() - began
    flat = [one for each in latencies for one in each]
    return Result(len(flat), spent, flat, failures)
