# SPDX-License-Identifier: Apache-2.0
"""Who is connected: the monitors know which instance is whose; OSDs and watchers know instances only."""

import dataclasses
from typing import Any

from multiattach.drivers.ceph.addresses import strip_kind
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import StorageUnavailable

# s after which a monitor that is not of the quorum has no clients: it sends them away after two of its leases (10 s,
# Monitor::tick), and of one that hangs they notice within 30 s (mon_client_ping_timeout) and look for another one.
_MOVED = 60.0


@dataclasses.dataclass(frozen=True)
class Session:
    """A client's session with a monitor; it has one with one of them, and none for a moment when that one is lost.

    :param entity: its user, with ``client.``.
    :param address: of its instance, ``ADDRESS:PORT/NONCE``.
    :param client: number of its instance; watchers have it, too.
    """

    entity: str
    address: str
    client: int
    monitor: str


@dataclasses.dataclass(frozen=True)
class Sessions:
    """The sessions that there are.

    :param silent: monitors that did not tell theirs: they are not of the quorum, or do not answer.
    :param doubtful: those of them that may still have clients, of which nothing is known then.
    """

    found: tuple[Session, ...]
    silent: tuple[str, ...]
    doubtful: tuple[str, ...] = ()

    def list_of(self, entity: str) -> list[Session]:
        return [one for one in self.found if one.entity == entity]

    def check(self, whom: str) -> None:
        """See that nobody was overlooked.

        :raises StorageUnavailable: somebody may have been.
        """
        if self.doubtful:
            raise StorageUnavailable(
                f'Whether more clients of {whom} run is unknown: monitors {", ".join(self.doubtful)} of Ceph do not '
                f'tell who is connected to them. It is tried again; {_MOVED:g} s after they have left the quorum their '
                'clients are at others.'
            )


def read_sessions(pool: Pool, timeout: float | None = None) -> Sessions:
    """Ask every monitor of the quorum.

    :raises StorageUnavailable: there is none.
    """

    def read(_io: Any, _progress: Any) -> Sessions:
        status = pool.ask('quorum_status')
        found: list[Session] = []
        outside = {one['name'] for one in status['monmap']['mons']} - set(status['quorum_names'])
        # That of the quorum that there is: as long at least they have not been of it.
        doubtful = outside if status['quorum_age'] < _MOVED else set()
        for monitor in status['quorum_names']:
            try:
                found += _read(monitor, pool.ask('sessions', monitor=monitor))
            except pool.rados.Error:
                doubtful = doubtful | {monitor}
        return Sessions(tuple(found), tuple(sorted(outside | doubtful)), tuple(sorted(doubtful)))

    return pool.run('list sessions', read, timeout=timeout)


def _read(monitor: str, answer: Any) -> list[Session]:
    return [
        Session(one['entity_name'], f'{strip_kind(address["addr"])}/{address["nonce"]}', one['global_id'], monitor)
        for one in answer
        if one['con_type'] == 'client'
        for address in one['addrs']['addrvec']
    ]
