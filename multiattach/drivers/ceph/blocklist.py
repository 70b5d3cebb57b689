# SPDX-License-Identifier: Apache-2.0
"""Ceph's blocklist: which instances of clients no OSD serves any more.

An entry is part of the OSD map. An OSD refuses an instance in a placement group from the moment on in which that group
uses the map with the entry; which is seen by asking each group something as a client that has that map, because a group
answers nobody under an older map than his.
"""

import contextlib
import dataclasses
import datetime
import errno
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from oslo_log import log

from multiattach.domain.blocklist import Cause, Reason
from multiattach.drivers.ceph.addresses import check_instance, strip_kind
from multiattach.drivers.ceph.omap import read_pairs
from multiattach.drivers.ceph.placement import cover_groups
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import StorageError, StorageUnavailable

LOG = log.getLogger(__name__)

# s that an entry is made for. Whoever needs it longer has to renew it, which is not without a gap.
HELD = 30 * 24 * 3600.0
# Its omap names the entries that this service made for the pool, with the reason: Ceph does not know whose one is.
NOTES = 'multiattach_blocklist'
_NAMED = 8  # groups that did not answer, whose OSDs are named


@dataclasses.dataclass(frozen=True)
class Settled:
    """What was seen of a map's way to the OSDs.

    :param epoch: of the OSD map that a monitor showed.
    :param entries: the blocklist in it: by instance until when, in UTC, by the monitors' clock.
    :param groups: placement groups of the pool, and of those with its images' data; each answered a request that was
        made under this map or a newer one.
    :param up: OSDs that were up in that map; those of them that serve the pool are among those who answered.
    :param down: OSDs that were down in that map, and not asked.
    """

    epoch: int
    entries: Mapping[str, datetime.datetime] = dataclasses.field(repr=False)
    groups: int
    up: tuple[int, ...]
    down: tuple[int, ...]


class Blocklist:
    """The blocklist of a cluster, and the pool in which it must hold."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(
        self, addresses: Collection[str], seconds: float = HELD, reasons: Mapping[str, Reason] | None = None
    ) -> dict[str, datetime.datetime]:
        """Have no OSD serve some instances.

        A monitor has written it when this returns; the OSDs do it from a moment on that :meth:`settle` waits for.
        What is listed already keeps its end, also an earlier one: Ceph does not put it off, see :meth:`renew`.

        :param addresses: ``ADDRESS:PORT/NONCE``.
        :param seconds: from now on, by the monitors' clock.
        :param reasons: by address; those are written down before, in the pool's book and in the pool itself.
        :returns: until when each entry holds, in UTC.
        :raises ValueError: an address names more than one instance.
        """
        reasons = reasons or {}
        wanted = [{'blocklistop': 'add', 'addr': check_instance(one), 'expire': float(seconds)} for one in addresses]

        def add(io: Any, _progress: Any) -> dict[str, datetime.datetime]:
            self._note(io, reasons)
            self._pool.ask_all('osd blocklist', wanted)
            return _read_entries(self._pool.ask('osd dump'))

        if not wanted:
            return {}
        book, fsid = self._pool.book, self._pool.find_fsid()
        if book is not None and reasons:
            book.intend(fsid, reasons)
        found = self._pool.run(f'blocklist {", ".join(sorted(addresses))}', add)
        if missing := set(addresses) - set(found):
            raise StorageUnavailable(f'Ceph said that it blocklisted {", ".join(sorted(missing))}, and did not.')
        added = {one: found[one] for one in addresses}
        if book is not None and reasons:
            book.confirm(fsid, {one: strip_zone(until) for one, until in added.items()})
        return added

    def renew(self, address: str, seconds: float = HELD, reason: Reason | None = None) -> datetime.datetime:
        """Have an entry end later. It is made anew, for Ceph cannot do that otherwise.

        Between two maps, which follow each other as fast as the monitors let them, the instance is served if it still
        runs; so an entry should be made for long.

        :returns: until when it holds, in UTC.
        """
        check_instance(address)
        reasons = {} if reason is None else {address: reason}
        if self._pool.book is not None and reasons:
            self._pool.book.intend(self._pool.find_fsid(), reasons)
        self._remove(address, is_over=False)
        return self.add([address], seconds, reasons)[address]

    def remove(self, address: str) -> None:
        """Let an instance in again; absent is success."""
        check_instance(address)
        self._remove(address, is_over=True)
        if self._pool.book is not None:
            self._pool.book.forget(self._pool.find_fsid(), address)

    def _remove(self, address: str, *, is_over: bool) -> None:
        def remove(io: Any, _progress: Any) -> None:
            self._pool.ask('osd blocklist', blocklistop='rm', addr=address)
            if is_over:
                self._drop_note(io, address)

        self._pool.run(f'take {address} from the blocklist', remove)

    def read(self) -> dict[str, datetime.datetime]:
        """List all entries, whoever made them, but those of whole networks.

        :returns: by instance until when, in UTC.
        """
        return self._pool.run('list its blocklist', lambda _io, _progress: _read_entries(self._pool.ask('osd dump')))

    # Notes ------------------------------------------------------------------------------

    def read_notes(self) -> dict[str, Reason]:
        """List the entries that this service ever made for the pool, and did not remove."""

        def read(io: Any, _progress: Any) -> dict[str, Reason]:
            return {address: _read_reason(value) for address, value in read_pairs(self._pool, io, NOTES)}

        return self._pool.run('read the notes on its blocklist', read)

    def drop_note(self, address: str) -> None:
        """Forget an entry that is over."""
        self._pool.run(f'drop the note on {address}', lambda io, _progress: self._drop_note(io, address))

    def _note(self, io: Any, reasons: Mapping[str, Reason]) -> None:
        if not reasons:
            return
        names = tuple(reasons)
        with self._pool.rados.WriteOpCtx() as operation:
            io.set_omap(operation, names, tuple(_write_reason(reasons[one]) for one in names))
            try:
                io.operate_write_op(operation, NOTES)
            except self._pool.rados.Error as exc:  # the pool is full: an entry must not wait for room
                LOG.warning('No note in pool %s on %s: %s', self._pool.cluster.pool, ', '.join(names), exc)

    def _drop_note(self, io: Any, address: str) -> None:
        with self._pool.rados.WriteOpCtx() as operation:
            io.remove_omap_keys(operation, (address,))
            with contextlib.suppress(self._pool.rados.ObjectNotFound):  # there never was one
                io.operate_write_op(operation, NOTES)

    # OSDs -------------------------------------------------------------------------------

    def settle(self, timeout: float | None = None) -> Settled:
        """Wait until the OSDs of the pool, and of those with its images' data, use the map that the monitors have now.

        :param timeout: seconds for all of it.
        :raises StorageUnavailable: a placement group did not answer; the message names its OSD.
        """
        return self._pool.run('wait for the OSDs', lambda io, _progress: self._settle(io), timeout=timeout)

    def _settle(self, io: Any) -> Settled:
        dump = self._pool.ask('osd dump')
        self._pool.catch_up()
        counts = {one['pool_name']: int(one['pg_num']) for one in dump['pools']}
        groups = self._wait_for(io, self._pool.cluster.pool, counts, dump['epoch'])
        for name in sorted(self._pool.data_pools):
            if name in counts:  # else it is gone, with all that was in it
                with self._pool.open_other(name) as other:
                    groups += self._wait_for(other, name, counts, dump['epoch'])
        osds = {bool(up): tuple(one['osd'] for one in dump['osds'] if one['up'] == up) for up in (0, 1)}
        return Settled(dump['epoch'], _read_entries(dump), groups, osds[True], osds[False])

    def _wait_for(self, io: Any, name: str, counts: Mapping[str, int], epoch: int) -> int:
        """Wait for one pool; return how many groups it has."""
        silent = self._ask_groups(io, cover_groups(counts[name]))
        if silent:
            raise StorageUnavailable(
                f'{len(silent)} of {counts[name]} placement groups of pool {name} do not answer under epoch {epoch} of '
                f'the OSD map; they are at {self._name_osds(name, silent)}.'
            )
        return counts[name]

    def _ask_groups(self, io: Any, names: Sequence[str]) -> list[str]:
        """Ask each group for an object that it does not have.

        :returns: the names of those whose group did not answer.
        """
        asked = [(name, io.aio_stat(name, lambda *_: None)) for name in names]
        for _, completion in asked:
            # Also for its callback: nobody else keeps it and its I/O context, and what is collected cannot be called.
            completion.wait_for_complete_and_cb()
        silent = []
        for name, completion in asked:
            code = -completion.get_return_value()
            if code in (errno.ETIMEDOUT, errno.EAGAIN, errno.ENOTCONN):
                silent.append(name)
            elif code not in (0, errno.ENOENT):
                raise self._pool.rados.OSError('error of stat', errno=code)
        return silent

    def _name_osds(self, pool: str, names: Sequence[str]) -> str:
        try:
            found = {self._pool.ask('osd map', pool=pool, object=name)['acting_primary'] for name in names[:_NAMED]}
        except (self._pool.rados.Error, StorageError):
            return 'OSDs that no monitor names now'
        return ', '.join('no OSD' if one < 0 else f'osd.{one}' for one in sorted(found))


def strip_zone(moment: datetime.datetime) -> datetime.datetime:
    """Write a moment of UTC as the database has it."""
    return moment.replace(tzinfo=None)


def _write_reason(reason: Reason) -> bytes:
    return json.dumps(dataclasses.asdict(reason)).encode()


def _read_reason(value: bytes) -> Reason:
    found = json.loads(value)
    return Reason(Cause(found['cause']), found['owner'], found['volume_id'])


def _read_entries(dump: Any) -> dict[str, datetime.datetime]:
    return {
        strip_kind(address): datetime.datetime.strptime(until, '%Y-%m-%dT%H:%M:%S.%f%z').astimezone(datetime.UTC)
        for address, until in dump['blocklist'].items()
    }
