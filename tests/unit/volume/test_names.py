# SPDX-License-Identifier: Apache-2.0
"""Between workers, which know volumes by their ids, and drivers, which know what they are named after."""

import contextlib
import dataclasses
import datetime
import inspect

import pytest

from multiattach.domain.blocklist import Cause, Reason
from multiattach.drivers.backends import base, manageable, moving
from multiattach.drivers.ceph.pool import Book
from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Cut, Export, Target, TargetState
from multiattach.volume.names import StorageNames

OWN, NAME, PLAIN, SNAPSHOT = (f'{number}0000000-0000-4000-8000-000000000000' for number in range(1, 5))
# How protocols call what is the id of a volume.
_VOLUMES = {'volume_id', 'source_id'}


class Recorder:
    """A driver, or a part of one: it notes how it is called, and answers what it is told to."""

    def __init__(self, **answers):
        self.calls = []
        self.answers = answers

    def __getattr__(self, name):
        if name.startswith('_') or name in ('calls', 'answers'):
            raise AttributeError(name)

        def call(*args, **options):
            self.calls.append((name, args, options))
            return self.answers.get(name)

        return call


@pytest.fixture
def names():
    return StorageNames({OWN: NAME})


def list_calls(protocol):
    """List the methods of a protocol, with the names of their arguments."""
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if not name.startswith('_'):
            yield name, [one for one in inspect.signature(method).parameters if one != 'self']


def reach(names, part):
    """Wrap a driver that notes its calls; return what is to be called, and what notes."""
    recorder = Recorder()
    if part == 'target':
        return names.wrap_target(recorder), recorder
    backend = recorder if part == 'backend' else type('Backend', (), {part: recorder})()
    wrapped = names.wrap_backend(backend)
    return wrapped if part == 'backend' else getattr(wrapped, part), recorder


PARTS = {
    'backend': base.Backend,
    'imports': base.Imports,
    'movable': moving.Movable,
    'manageable': manageable.Manageable,
    'manageable_snapshots': manageable.ManageableSnapshots,
    'target': Target,
}
CALLS = [
    (part, name, parameters)
    for part, protocol in PARTS.items()
    for name, parameters in list_calls(protocol)
    if _VOLUMES & set(parameters)
]


@pytest.mark.parametrize(('part', 'name', 'parameters'), CALLS, ids=[f'{part}-{name}' for part, name, _ in CALLS])
def test_each_id_of_a_volume_is_told_as_its_name(names, part, name, parameters):
    """Also of what protocols will have one day: an id that was forgotten would be another volume's storage."""
    called, recorder = reach(names, part)
    recorder.answers = {'fence': Cut()}
    positional = [one for one in parameters if one not in ('alone', 'again')]
    getattr(called, name)(*(OWN if one in _VOLUMES else one for one in positional))
    [(_, args, _)] = recorder.calls
    assert list(args) == [NAME if one in _VOLUMES else one for one in positional]
    recorder.calls.clear()
    recorder.answers = {'fence': Cut()}
    getattr(called, name)(*(PLAIN if one in _VOLUMES else one for one in positional))
    assert [arg for arg in recorder.calls[0][1] if arg in (PLAIN, NAME)] == [PLAIN] * len(_VOLUMES & set(positional))


def test_the_image_of_a_service_is_shared_under_the_name(names):
    called, recorder = reach(names, 'imports')
    called.share(OWN, 1, 'where', bool)
    assert recorder.calls == [('share', (NAME, 1, 'where', bool), {})]


def test_storage_is_its_volumes_whatever_its_name(names):
    found = [manageable.Found(f'volume-{ident}', 1) for ident in (NAME, PLAIN)] + [manageable.Found('other', 1)]
    parts = type('Backend', (), {'manageable': Recorder(list=found, find=found[0])})()
    called = names.wrap_backend(parts).manageable
    assert [one.owner for one in called.list()] == [OWN, PLAIN, None]
    assert called.find(f'volume-{NAME}').owner == OWN


def test_snapshots_are_of_the_volume(names):
    backend = names.wrap_backend(Recorder(list_snapshots={SNAPSHOT: NAME, 'b': PLAIN, 'c': None}))
    assert backend.list_snapshots() == {SNAPSHOT: OWN, 'b': PLAIN, 'c': None}


@dataclasses.dataclass(frozen=True)
class Stored:
    """As drivers tell of their storage."""

    volumes: frozenset[str]
    remnants: frozenset[str]


def test_storage_is_listed_by_its_volumes(names):
    """What has the id of such a volume in its name is somebody else's."""
    backend = names.wrap_backend(Recorder(list_storage=Stored(frozenset({NAME, PLAIN}), frozenset({NAME, OWN}))))
    assert backend.list_storage() == Stored(frozenset({OWN, PLAIN}), frozenset({OWN}))
    backend = names.wrap_backend(Recorder(list_storage=Stored(frozenset({OWN}), frozenset({OWN}))))
    assert backend.list_storage() == Stored(frozenset(), frozenset())
    assert not hasattr(names.wrap_backend(object()), 'list_storage')


def test_rows_are_asked_for_by_the_volume(names):
    recorder = Recorder()
    names.wrap_backend(recorder).learn_rows({OWN: True, PLAIN: False}.__getitem__)
    _, (has_row,), _ = recorder.calls.pop()
    assert (has_row(NAME), has_row(PLAIN), has_row(OWN)) == (True, False, False)
    assert not hasattr(names.wrap_backend(object()), 'learn_rows')


def make_state(ident):
    return TargetState(ident, f'iqn.x:volume-{ident}', 1, (), (), (), ())


def test_targets_are_shown_as_the_volumes(names):
    states = {ident: make_state(ident) for ident in (NAME, PLAIN)}
    recorder = Recorder(list_exports=states, show=states[NAME], list_files=frozenset({*states, OWN}))
    target = names.wrap_target(recorder)
    found = target.list_exports()
    assert {ident: state.volume_id for ident, state in found.items()} == {OWN: OWN, PLAIN: PLAIN}
    assert found[OWN].iqn.endswith(NAME)
    assert found[PLAIN] is states[PLAIN]
    # What has not changed is the same object: reconcilers go by that.
    assert target.list_exports()[OWN] is found[OWN]
    recorder.answers['list_exports'] = {NAME: make_state(NAME)}
    assert target.list_exports()[OWN] is not found[OWN]
    # A target that is left of before the migration is not the volume's.
    recorder.answers['list_exports'] = {OWN: make_state(OWN), NAME: states[NAME]}
    assert target.list_exports()[OWN].iqn.endswith(NAME)
    recorder.answers['list_exports'] = {OWN: make_state(OWN)}
    assert target.list_exports() == {}
    assert target.show(OWN).volume_id == OWN
    assert target.list_files() == {OWN, PLAIN}


def test_an_export_and_a_fence(names):
    error = TargetError('no')
    recorder = Recorder(fence=Cut(NAME, 'i'), settle=[Cut(NAME, 'i'), error])
    target = names.wrap_target(recorder)
    target.ensure_export(Export(OWN, 'device'))
    assert recorder.calls.pop()[1] == (Export(NAME, 'device'),)
    cut = target.fence(OWN, 'i', 'account', alone=True, again=True)
    assert (cut.volume_id, recorder.calls.pop()) == (
        OWN,
        ('fence', (NAME, 'i', 'account'), {'alone': True, 'again': True}),
    )
    done, failed = target.settle([cut, cut])
    assert (done.volume_id, failed) == (OWN, error)
    assert [one.volume_id for one in recorder.calls.pop()[1][0]] == [NAME, NAME]


def test_entries_of_the_blocklist_are_those_of_the_volume(names):
    recorder = Recorder()
    book: Book = names.wrap_book(recorder)
    book.intend('fsid', {'a': Reason(Cause.FENCE, 'i', NAME), 'b': Reason(Cause.GATEWAY, 'g')})
    book.forget('fsid', 'a')
    book.confirm('fsid', {'a': datetime.datetime(2026, 1, 1)})
    (_, (_, reasons), _), *others = recorder.calls
    assert {address: one.volume_id for address, one in reasons.items()} == {'a': OWN, 'b': None}
    assert [name for name, _, _ in others] == ['forget', 'confirm']


def test_without_such_volumes_nothing_is_between():
    names, driver = StorageNames({}), Recorder()
    assert names.wrap_backend(driver) is driver
    assert names.wrap_target(driver) is driver
    assert names.wrap_book(driver) is driver


def test_what_a_driver_lacks_is_lacking(names):
    """Callers ask whether a driver has a part, and set what a driver is to call."""

    class Driver:
        IS_THICK = True
        imports = None
        confirm = None

    driver = Driver()
    for wrapped in (names.wrap_backend(driver), names.wrap_target(driver)):
        assert not hasattr(wrapped, 'create_snapshot')
        assert wrapped.IS_THICK
    assert names.wrap_backend(driver).imports is None
    names.wrap_target(driver).confirm = contextlib.nullcontext
    assert driver.confirm is contextlib.nullcontext
