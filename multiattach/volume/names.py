# SPDX-License-Identifier: Apache-2.0
"""Volumes whose storage and target are named after another id than their own: Cinder migrated them while in use.

Workers and rows know volumes by their own ids, drivers by what they are named after. Between them stands what this
module puts around the drivers; where no volume has such a name there is nothing in between.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from multiattach.domain.blocklist import Reason
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.backends.manageable import Found, find_volume
from multiattach.drivers.ceph.pool import Book
from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets.base import Cut, Export, Target, TargetState


class StorageNames:
    """What the volumes of a program are named after, as it was when the program started.

    A volume keeps its name for life, wherever it is migrated to, and only an import brings one, while no worker runs.

    :param names: the ids after which storage is named, by volume, of those where that is not the volume's own.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)
        self._volumes = {name: ident for ident, name in names.items()}

    def find(self, volume_id: str) -> str:
        """Return the id after which a volume's storage is named."""
        return self._names.get(volume_id, volume_id)

    def find_volume(self, name_id: str) -> str:
        """Return the volume whose storage is named after an id."""
        return self._volumes.get(name_id, name_id)

    def find_volumes(self, name_ids: Iterable[str]) -> frozenset[str]:
        """Return the volumes whose storage, or target, is named after these ids."""
        return frozenset(self.find_volume(one) for one in name_ids if not self.is_strange(one))

    def is_strange(self, name_id: str) -> bool:
        """Tell whether what is named after an id is not the volume's of that id, which is named otherwise."""
        return name_id in self._names

    def wrap_backend(self, backend: Backend) -> Backend:
        return cast(Backend, _NamedBackend(backend, self)) if self._names else backend

    def wrap_target(self, target: Any) -> Any:
        """:param target: a :class:`Target`, of whatever kind; what it has besides stays within reach."""
        return _NamedTarget(target, self) if self._names else target

    def wrap_book(self, book: Book) -> Book:
        return cast(Book, _NamedBook(book, self)) if self._names else book


class _Named:
    """A driver, or a part of one, that is called with ids of volumes and itself gets what they are named after.

    :cvar places: where ids of volumes stand among the arguments, by method; no caller gives them by keyword.
    """

    places: ClassVar[Mapping[str, Sequence[int]]] = {}

    def __init__(self, driver: Any, names: StorageNames) -> None:
        vars(self).update(_driver=driver, _names=names)

    def __getattr__(self, name: str) -> Any:
        found, places = getattr(self._driver, name), self.places.get(name)
        return found if places is None else functools.partial(self._call, found, places)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._driver, name, value)

    def _call(self, method: Callable[..., Any], places: Sequence[int], *args: Any, **options: Any) -> Any:
        return method(*(self._names.find(one) if place in places else one for place, one in enumerate(args)), **options)


class _NamedBook(_Named):
    def intend(self, fsid: str, reasons: Mapping[str, Reason]) -> None:
        self._driver.intend(
            fsid,
            {
                address: dataclasses.replace(one, volume_id=one.volume_id and self._names.find_volume(one.volume_id))
                for address, one in reasons.items()
            },
        )


# -- storage ---------------------------------------------------------------------------------------


class _NamedImports(_Named):
    places = {'open': (0,), 'share': (0,)}


class _NamedMovable(_Named):
    places = {'open_reader': (0,), 'open_draft': (0,), 'adopt': (0,), 'drop_draft': (0,)}


class _NamedManageable(_Named):
    places = {'take': (0,)}

    def list(self) -> list[Found]:
        return [self._own(one) for one in self._driver.list()]

    def find(self, name: str) -> Found:
        return self._own(self._driver.find(name))

    def _own(self, found: Found) -> Found:
        name_id = find_volume(found.name)
        return found if name_id is None else dataclasses.replace(found, owner=self._names.find_volume(name_id))


class _NamedSnapshots(_Named):
    places = {'find': (0,), 'take': (1,)}


class _NamedBackend(_Named):
    places = {
        'create': (0,),
        'clone': (0, 1),
        'discard': (0,),
        'clear': (0,),
        'extend': (0,),
        'create_snapshot': (1,),
        'delete_snapshot': (1,),
        'clone_snapshot': (0, 2),
        'revert': (0,),
        'path': (0,),
    }
    _parts: ClassVar[Mapping[str, type[_Named]]] = {
        'imports': _NamedImports,
        'movable': _NamedMovable,
        'manageable': _NamedManageable,
        'manageable_snapshots': _NamedSnapshots,
    }

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if name in self._lists:
            return functools.partial(self._lists[name], self, found)
        return self._parts[name](found, self._names) if name in self._parts and found is not None else found

    def _list_snapshots(self, read: Callable[[], Mapping[str, str | None]]) -> dict[str, str | None]:
        return {ident: of and self._names.find_volume(of) for ident, of in read().items()}

    def _list_storage(self, read: Callable[[], Any]) -> Any:
        """:returns: as the driver does, the volumes and the remnants in it by the ids of volumes."""
        found = read()
        parts = {name: self._names.find_volumes(getattr(found, name)) for name in ('volumes', 'remnants')}
        return dataclasses.replace(found, **parts)

    def _learn_rows(self, learn: Callable[[Callable[[str], bool]], None], has: Callable[[str], bool]) -> None:
        learn(lambda name_id: not self._names.is_strange(name_id) and has(self._names.find_volume(name_id)))

    # What is told only if the driver does, or asks.
    _lists: ClassVar[Mapping[str, Callable[..., Any]]] = {
        'list_snapshots': _list_snapshots,
        'list_storage': _list_storage,
        'learn_rows': _learn_rows,
    }


# -- targets ---------------------------------------------------------------------------------------


class _NamedTarget(_Named):
    places = dict.fromkeys(
        (
            'name_account',
            'make_grant',
            'grant',
            'restrict',
            'revoke',
            'remove_export',
            'read_reservations',
            'clear_reservations',
            'extend',
            'locate',
        ),
        (0,),
    )

    def __init__(self, driver: Target, names: StorageNames) -> None:
        super().__init__(driver, names)
        # By the state that the driver shows: what has not changed is to be the same object.
        vars(self)['_shown'] = {}

    def ensure_export(self, export: Export) -> Any:
        return self._driver.ensure_export(dataclasses.replace(export, volume_id=self._names.find(export.volume_id)))

    def fence(self, volume_id: str, *args: Any, **options: Any) -> Cut:
        return self._own_cut(self._driver.fence(self._names.find(volume_id), *args, **options))

    def settle(self, cuts: Sequence[Cut]) -> Sequence[Cut | DriverError]:
        named = [dataclasses.replace(cut, volume_id=self._names.find(cut.volume_id)) for cut in cuts]
        return [self._own_cut(done) if isinstance(done, Cut) else done for done in self._driver.settle(named)]

    def _own_cut(self, cut: Cut) -> Cut:
        return dataclasses.replace(cut, volume_id=self._names.find_volume(cut.volume_id))

    def list_exports(self) -> dict[str, TargetState]:
        before: dict[str, tuple[TargetState, TargetState]] = self._shown
        found, shown = {}, {}
        for name_id, state in self._driver.list_exports().items():
            if self._names.is_strange(name_id):
                continue
            ident = self._names.find_volume(name_id)
            if ident != name_id:
                known = before.get(ident)
                own = known[1] if known is not None and known[0] is state else _own_state(state, ident)
                shown[ident], state = (state, own), own
            found[ident] = state
        vars(self)['_shown'] = shown
        return found

    def show(self, volume_id: str) -> TargetState | None:
        state = self._driver.show(self._names.find(volume_id))
        return None if state is None else _own_state(state, volume_id)

    def list_files(self) -> frozenset[str] | None:
        found = self._driver.list_files()
        return None if found is None else self._names.find_volumes(found)


def _own_state(state: TargetState, volume_id: str) -> TargetState:
    return dataclasses.replace(state, volume_id=volume_id)
