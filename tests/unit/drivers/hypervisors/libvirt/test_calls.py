# SPDX-License-Identifier: Apache-2.0
"""Calls that hang: bounded, one at a time for a server, and never in the way of the others."""

import threading
import time

import pytest

from multiattach.drivers.errors import HypervisorUnavailable
from multiattach.drivers.hypervisors.libvirt import calls as calls_module
from multiattach.drivers.hypervisors.libvirt.calls import Calls, Overdue
from tests.testbed.polling import wait_until


class Hang:
    """A call that hangs until it is let go."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.began.set()
        assert self.go.wait(30)
        return 'late'


def test_an_answer_and_an_error_come_through() -> None:
    calls = Calls(20)
    assert calls.ask('say one', lambda: 1) == 1
    assert calls.change('say two', 'a', lambda: 2) == 2
    with pytest.raises(ZeroDivisionError):
        calls.change('divide', 'a', lambda: 1 // 0)
    assert calls.change('say three', 'a', lambda: 3) == 3


def test_a_server_is_left_alone_until_its_call_has_come_back() -> None:
    calls, hang = Calls(0.1), Hang()
    with pytest.raises(Overdue, match=r'did not freeze: it took longer than 0\.1 s'):
        calls.change('freeze', 'a', hang)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(HypervisorUnavailable, match='was to freeze 0 s ago and has not come back'):
            calls.change('thaw', 'a', lambda: None)
        assert time.monotonic() - began < 0.09
    assert calls.change('go on', 'b', lambda: 'on') == 'on'
    assert calls.ask('list', lambda: []) == []
    [overdue] = calls.list_overdue()
    assert overdue.startswith('freeze ')
    hang.go.set()
    wait_until(lambda: not calls.list_overdue(), 20, 'the end of the call', 0.005)
    assert calls.change('thaw', 'a', lambda: 'thawed') == 'thawed'


def test_the_second_of_a_server_waits_its_turn() -> None:
    calls, hang, done = Calls(20), Hang(), []
    first = threading.Thread(target=lambda: done.append(calls.change('first', 'a', hang)))
    first.start()
    assert hang.began.wait(20)
    second = threading.Thread(target=lambda: done.append(calls.change('second', 'a', lambda: 'second')))
    second.start()
    time.sleep(0.05)
    assert done == []
    hang.go.set()
    first.join(20)
    second.join(20)
    assert sorted(done) == ['late', 'second']


def test_libvirtd_keeps_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, 'MOST_OVERDUE', 2)
    monkeypatch.setattr(calls_module, 'MOST_OVERDUE_QUESTIONS', 1)
    calls, hangs = Calls(0.05), [Hang() for _ in range(3)]
    for number, hang in enumerate(hangs[:2]):
        with pytest.raises(Overdue):
            calls.change('freeze', str(number), hang)
    for server in ('2', '2'):  # a refused one does not count as one that hangs
        with pytest.raises(HypervisorUnavailable, match='2 earlier calls have not come back'):
            calls.change('freeze', server, lambda: None)
    assert calls.ask('list', lambda: 'all') == 'all'
    with pytest.raises(Overdue):
        calls.ask('list', hangs[2])
    with pytest.raises(HypervisorUnavailable, match='not asked to list: 1 earlier'):
        calls.ask('list', lambda: 'all')
    for hang in hangs:
        hang.go.set()
    wait_until(lambda: not calls.list_overdue(), 20, 'the end of the call', 0.005)
    assert calls.change('freeze', '2', lambda: 'done') == 'done'
    assert calls.ask('list', lambda: 'all') == 'all'


def test_an_interrupt_ends_every_wait_and_every_later_one() -> None:
    calls, hang, said = Calls(60), Hang(), []

    def change() -> None:
        try:
            calls.change('freeze', 'a', hang)
        except HypervisorUnavailable as exc:
            said.append(exc.message)

    threads = [threading.Thread(target=change) for _ in range(2)]  # one at it, one that waits its turn
    for thread in threads:
        thread.start()
    assert hang.began.wait(20)
    time.sleep(0.05)
    calls.interrupt()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert len(said) == 2
    with pytest.raises(HypervisorUnavailable, match='the program stops'):
        calls.ask('list', lambda: [])
    hang.go.set()
