# SPDX-License-Identifier: Apache-2.0
"""The checker itself: what it must accept, and what it must not."""

import dataclasses
import math

import pytest

from multiattach.domain import sharing, states
from tests.histories import shrinker, soak
from tests.histories.calls import Call, Event, Kind, Reply, from_json, to_json
from tests.histories.checker import History, check
from tests.histories.field import TYPES
from tests.histories.model import Model, State

VOLUME = 'v'
A, B, C = 'a' * 36, 'b' * 36, 'c' * 36
S1, S2 = 'server-1', 'server-2'


class Scribe:
    """Writes a history by hand."""

    def __init__(self, kind='plain', **model):
        self.start = State('available', kind, 1)
        self.events = []
        self.model = Model(TYPES, **{'snapshot': True} | model)
        self.strays = {}

    def add(self, start, end, kind, code=None, facts=None, **call):
        """A call from start to end; no code: no answer."""
        self.events.append(
            Event(
                len(self.events),
                0,
                Call(kind, VOLUME, **call),
                start + 0.1,
                math.inf if code is None else end,
                None if code is None else Reply(code, facts or {}),
                code in (500, 503),
            )
        )
        return self

    def reserve(self, start, end, ident=A, server=S1, code=200):
        facts = {'id': ident, 'status': 'reserved', 'info': False} if code == 200 else None
        return self.add(start, end, Kind.CREATE, code, facts, server=server)

    def attach(self, start, end, ident=A, server=S1, host='h'):
        return self.add(
            start, end, Kind.CREATE, 200, {'id': ident, 'status': 'attaching', 'info': True}, server=server, host=host
        )

    def delete(self, start, end, ident=A, code=200, **held):
        return self.add(start, end, Kind.DELETE, code, {'held': held} if code == 200 else None, attachment=ident)

    def show(self, start, end, status, attached=(), kind=None, size=1):
        return self.add(
            start,
            end,
            Kind.SHOW,
            200,
            {'status': status, 'type': kind or self.start.type, 'size': size, 'attached': sorted(attached)},
        )

    def look(self, start, end, **held):
        return self.add(start, end, Kind.LIST, 200, {'held': held})

    @property
    def history(self):
        return History(self.start, self.events, self.strays)

    def verdict(self):
        return check(self.model, self.history)


def test_one_after_the_other():
    good = (
        Scribe()
        .reserve(0, 1)
        .show(1, 2, 'reserved')
        .add(2, 3, Kind.UPDATE, 200, {'id': A, 'status': 'attaching', 'info': True}, attachment=A, host='h')
        .add(3, 4, Kind.COMPLETE, 204, attachment=A)
        .show(4, 5, 'in-use', [A])
        .delete(5, 6)
        .show(6, 7, 'available')
    )
    assert good.verdict().ok


def test_what_overlaps_may_have_happened_in_either_order():
    for status in ('reserved', 'available'):
        assert Scribe().reserve(0, 5).show(1, 2, status).verdict().ok


def test_two_servers_get_a_volume_for_one():
    bad = Scribe().reserve(0, 5, A, S1).reserve(1, 6, B, S2)
    assert not bad.verdict().ok
    assert Scribe('shared').reserve(0, 5, A, S1).reserve(1, 6, B, S2).verdict().ok


def test_a_server_too_many():
    full = Scribe('capped').reserve(0, 1, A, S1).reserve(1, 2, B, S2)
    assert full.reserve(2, 3, C, 'server-3', code=400).verdict().ok
    full = Scribe('capped').reserve(0, 1, A, S1).reserve(1, 2, B, S2)
    assert not full.reserve(2, 3, C, 'server-3').verdict().ok


def test_a_refusal_without_reason():
    assert not Scribe().reserve(0, 1, code=400).verdict().ok


def test_a_lost_delete():
    assert not Scribe().reserve(0, 1).delete(1, 2).look(2, 3, **{A: 'reserved'}).verdict().ok
    assert not Scribe().reserve(0, 1).delete(1, 2).reserve(2, 3, B, S2, code=400).verdict().ok


def test_a_stale_read():
    assert not Scribe().reserve(0, 1).show(2, 3, 'available').verdict().ok


def test_two_reads_that_go_back():
    bad = Scribe().reserve(0, 9).show(1, 2, 'reserved').show(3, 4, 'available')
    assert not bad.verdict().ok


def test_a_delete_that_says_done_while_it_is_not():
    bad = Scribe().attach(0, 1).delete(1, 2, **{A: 'detaching'})
    assert not bad.verdict().ok


def test_a_fence_that_leaves_its_attachment_usable():
    done = Scribe().attach(0, 1).add(1, 2, Kind.FENCE, 200, {'fenced': True}, attachment=A)
    assert done.verdict().ok
    assert not done.look(2, 3, **{A: 'attaching'}).verdict().ok


def test_one_sharer_who_leaves_hides_no_other():
    shared = (
        Scribe('shared')
        .attach(0, 1, A, S1, 'h')
        .attach(1, 2, B, S2, 'g')
        .add(2, 3, Kind.COMPLETE, 204, attachment=A)
        .add(3, 4, Kind.COMPLETE, 204, attachment=B)
        .delete(4, 9, A, **{B: 'attached'})
    )
    copy = dataclasses.replace(shared.history, events=list(shared.events))
    assert shared.show(5, 6, 'in-use', [A, B]).verdict().ok
    hidden = Scribe('shared')
    hidden.events = list(copy.events)
    assert not hidden.show(5, 6, 'detaching', [B]).verdict().ok


def test_a_retype_under_an_attachment():
    assert not Scribe('shared').reserve(0, 1).add(1, 2, Kind.RETYPE, 202, type='plain').verdict().ok
    assert Scribe('shared').reserve(0, 1).add(1, 2, Kind.RETYPE, 400, type='plain').verdict().ok


def test_an_extension_shows_later():
    grown = Scribe().add(0, 1, Kind.EXTEND, 202, size=3)
    assert grown.show(1, 2, 'extending').show(3, 4, 'available', size=3).verdict().ok
    assert not Scribe().add(0, 1, Kind.EXTEND, 202, size=3).show(1, 2, 'available').verdict().ok


def test_a_removed_volume_takes_no_reservation():
    assert not Scribe().add(0, 1, Kind.REMOVE, 202).reserve(1, 2).verdict().ok
    assert Scribe().add(0, 1, Kind.REMOVE, 202).reserve(1, 2, code=404).verdict().ok
    assert Scribe().add(0, 1, Kind.REMOVE, 202).reserve(1, 2, code=400).verdict().ok


@pytest.mark.parametrize('status', ['available', 'reserved'])
def test_no_answer_means_done_now_or_later_or_never(status):
    lost = Scribe().add(0, 0, Kind.CREATE, server=S1)
    lost.strays = {S1: (A,)} if status == 'reserved' else {}
    assert lost.show(1, 2, 'available').show(5, 6, status).verdict().ok
    assert not lost.show(7, 8, 'in-use', [A]).verdict().ok


def test_no_answer_is_done_once():
    lost = Scribe('shared').add(0, 0, Kind.CREATE, server=S1)
    lost.strays = {S1: (A, B)}
    assert not lost.verdict().ok  # a row that nobody asked for
    assert not lost.look(1, 2, **{A: 'reserved', B: 'reserved'}).verdict().ok


def test_a_failure_on_the_way_counts_as_far_as_it_came():
    failed = Scribe(refusals=True).reserve(0, 1).add(1, 2, Kind.UPDATE, 503, attachment=A, host='h')
    assert failed.look(2, 3, **{A: 'reserved'}).verdict().ok
    again = Scribe().reserve(0, 1).add(1, 2, Kind.UPDATE, 503, attachment=A, host='h')
    assert again.look(2, 3, **{A: 'attaching'}).verdict().ok
    assert not again.look(4, 5, **{A: 'reserved'}).verdict().ok


def test_a_volume_and_its_attachments_read_at_two_moments():
    def write(**model):
        return Scribe(**model).attach(0, 1).add(2, 9, Kind.COMPLETE, 204, attachment=A).show(3, 8, 'attaching', [A])

    assert write(snapshot=False).verdict().ok
    assert not write(snapshot=True).verdict().ok


def test_a_cancelled_create_leaves_a_delete_in_work_alone():
    """The first bug that histories found."""
    bad = Scribe('shared').add(0, 9, Kind.CREATE, 409, server=S1, host='h')
    bad.strays = {S1: (A,)}
    assert not bad.look(1, 2, **{A: 'reserved'}).delete(3, 10, code=409).verdict().ok


def test_it_gives_up_and_says_so():
    many = Scribe('shared')
    for number in range(12):
        many.add(0, 0, Kind.CREATE, server=S1, host=f'h{number}')
    many.strays = {S1: tuple(f'{number:036d}' for number in range(12))}
    many.show(1, 2, 'maintenance')
    verdict = check(many.model, many.history, limit=100)
    assert not verdict.ok
    assert verdict.gave_up


# -- mutations: a model with another rule must not explain what the service does -------------------


def _busy() -> Scribe:
    return (
        Scribe('shared')
        .reserve(0, 1, A, S1)
        .reserve(1, 2, B, S2)
        .add(2, 3, Kind.COMPLETE, 204, attachment=A)
        .show(3, 4, 'in-use', [A])
        .delete(5, 6, B, **{A: 'attached'})
    )


def test_a_broken_rule_of_sharing_is_seen(monkeypatch):
    assert _busy().verdict().ok

    def refuse_all(volume, same_server, others):
        if others:
            raise sharing.errors.InvalidVolume('no')

    monkeypatch.setattr(sharing, 'check_reserve', refuse_all)
    assert not _busy().verdict().ok


def test_a_broken_derivation_is_seen(monkeypatch):
    monkeypatch.setattr(states, 'DERIVATION', tuple(reversed(states.DERIVATION)))
    assert not _busy().verdict().ok


# -- shrinking -------------------------------------------------------------------------------------


def test_a_failure_is_shrunk_to_what_matters():
    long = Scribe('shared')
    for number in range(20):
        ident = f'{number:036d}'
        long.reserve(number * 10, number * 10 + 1, ident, S2)
        long.show(number * 10 + 1, number * 10 + 2, 'reserved')
        long.delete(number * 10 + 2, number * 10 + 3, ident)
    long.reserve(300, 301).delete(302, 303).look(304, 305, **{A: 'reserved'}).show(306, 307, 'reserved')
    small = shrinker.shrink(long.model, long.history)
    assert 2 <= len(small.events) <= 3
    assert not check(long.model, small, unexplained=False).ok
    text = shrinker.describe(long.model, small)
    assert 'delete attachment=A1' in text
    assert 'Nothing explains' in text


def test_a_good_history_is_not_shrunk():
    good = _busy()
    assert shrinker.shrink(good.model, good.history) == good.history


def test_what_was_kept_is_judged_again(tmp_path, capsys):
    good, bad = _busy(), Scribe().reserve(0, 5, A, S1).reserve(1, 6, B, S2)
    kept = tmp_path / 'history.json'
    kept.write_text(soak.write_histories([(good.model, good.history)]))
    assert soak.main(['--check', str(kept)]) == 0
    kept.write_text(soak.write_histories([(good.model, good.history), (bad.model, bad.history)]))
    assert soak.main(['--check', str(kept)]) == 1
    assert 'Nothing explains' in capsys.readouterr().out


def test_events_survive_json():
    for event in _busy().add(9, 9, Kind.FENCE, attachment=A, force=True).events:
        assert from_json(to_json(event)) == event
