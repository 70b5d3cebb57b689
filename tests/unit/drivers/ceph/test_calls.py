# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest

from multiattach.drivers.ceph.calls import MOST_OVERDUE, Calls, Cancelled
from multiattach.drivers.errors import StorageUnavailable
from tests.testbed.polling import wait_until


@pytest.fixture
def gate():
    """What hanging calls wait for."""
    made = threading.Event()
    yield made
    made.set()


def test_result_and_error_are_the_caller_s():
    calls = Calls(5)
    assert calls.run('add', lambda _progress: 1 + 1) == 2
    with pytest.raises(ZeroDivisionError):
        calls.run('divide', lambda _progress: 1 // 0)
    assert calls.run('tell', lambda _progress: threading.current_thread().name) == 'rbd: tell'


def test_who_hangs_is_left_behind_and_others_are_served(gate):
    calls = Calls(60)
    with pytest.raises(StorageUnavailable, match=r'Ceph did not hang within 0.1 s; it may go on'):
        calls.run('hang', lambda _progress: gate.wait(60), timeout=0.1)
    assert calls.run('add', lambda _progress: 1 + 1) == 2


def test_no_more_threads_are_begun_than_may_hang(gate):
    calls = Calls(60)
    for _ in range(MOST_OVERDUE):
        with pytest.raises(StorageUnavailable, match='did not hang'):
            calls.run('hang', lambda _progress: gate.wait(60), timeout=0.01)
    before = threading.active_count()
    with pytest.raises(StorageUnavailable, match=r'is not asked to add: 16 earlier calls .* to hang \d+ s ago'):
        calls.run('add', lambda _progress: 1 + 1)
    assert threading.active_count() == before
    gate.set()
    wait_until(lambda: not calls._overdue, 10, 'the end of those that hung')
    assert calls.run('add', lambda _progress: 1 + 1) == 2


def test_a_long_call_may_take_as_long_as_it_gets_on():
    def work(progress):
        for number in range(6):
            time.sleep(0.6)
            assert progress(number, 6) == 0
        return 'done'

    assert Calls(3).run('work', work) == 'done'


def test_a_long_call_is_ended_by_who_asked_for_it():
    asked = []

    def proceed():
        asked.append(threading.current_thread())
        return len(asked) < 2

    def work(progress):
        while not progress(0, 1):
            time.sleep(0.01)
        raise OSError('cancelled')

    with pytest.raises(Cancelled):
        Calls(30).run('work', work, proceed=proceed)
    assert asked == [threading.current_thread()] * 2
    begun = []
    with pytest.raises(Cancelled):
        Calls(30).run('work', lambda _progress: begun.append(1), proceed=lambda: False)
    assert begun == []


def test_who_is_left_behind_ends_at_its_next_news(gate):
    ended = threading.Event()

    def work(progress):
        gate.wait(60)
        if progress(0, 1):
            ended.set()

    with pytest.raises(StorageUnavailable):
        Calls(0.05).run('work', work)
    gate.set()
    assert ended.wait(10)
