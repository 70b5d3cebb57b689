# SPDX-License-Identifier: Apache-2.0
import threading
import time

from multiattach import turns

WAIT = 10


class Thread(threading.Thread):
    """Has a turn until it is told to go on."""

    def __init__(self, limit: turns.Turns) -> None:
        super().__init__(daemon=True)
        self.limit = limit
        self.lends = True
        self.begun = threading.Event()
        self.waiting, self.answered = threading.Event(), threading.Event()
        self.resumed, self.end = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.limit.taken():
            self.begun.set()
            self.waiting.wait(WAIT)
            if self.lends:
                with turns.waiting():
                    self.answered.wait(WAIT)
                self.resumed.set()
            self.end.wait(WAIT)

    def finish(self) -> None:
        self.lends = self.waiting.is_set()
        for event in (self.waiting, self.answered, self.end):
            event.set()
        self.join(WAIT)


def begin(limit: turns.Turns) -> Thread:
    made = Thread(limit)
    assert made.begun.wait(WAIT)
    return made


def begin_late(limit: turns.Turns) -> Thread:
    """Begin one for whom there is no turn."""
    made = Thread(limit)
    assert not made.begun.wait(0.1)
    return made


def test_so_many_have_a_turn_and_the_next_one_comes_when_one_ends():
    limit = turns.Turns(2, patience=WAIT)
    first, second = begin(limit), begin(limit)
    third, fourth = begin_late(limit), begin_late(limit)
    first.finish()
    assert third.begun.wait(WAIT)
    assert not fourth.begun.wait(0.1)
    second.finish()
    assert fourth.begun.wait(WAIT)
    third.finish()
    fourth.finish()


def test_who_waits_lends_its_turn():
    limit = turns.Turns(1, patience=WAIT)
    first = begin(limit)
    second = begin_late(limit)
    first.waiting.set()
    assert second.begun.wait(WAIT)
    first.answered.set()
    assert not first.resumed.wait(0.1)
    second.finish()
    assert first.resumed.wait(WAIT)
    first.finish()


def test_what_is_begun_is_ended_before_something_new_is_begun():
    limit = turns.Turns(1, patience=WAIT)
    first = begin(limit)
    first.waiting.set()
    second = begin(limit)
    fresh = begin_late(limit)
    first.answered.set()
    assert not first.resumed.wait(0.1)
    second.finish()
    assert first.resumed.wait(WAIT)
    assert not fresh.begun.wait(0.1)
    first.finish()
    assert fresh.begun.wait(WAIT)
    fresh.finish()


def test_those_who_never_end_hold_up_nobody():
    limit = turns.Turns(1, patience=0.2)
    stuck = begin(limit)
    assert begin_late(limit).begun.wait(WAIT)
    assert begin_late(limit).begun.wait(WAIT)
    stuck.finish()


def test_afterwards_there_are_as_many_turns_as_before():
    limit = turns.Turns(2, patience=0.05)
    threads = [Thread(limit) for _ in range(12)]
    for thread in threads:
        assert thread.begun.wait(WAIT)
    for thread in threads:
        thread.waiting.set()
        thread.answered.set()
    for thread in threads:
        thread.finish()
        assert not thread.is_alive()
    limit._patience = WAIT
    first, second = begin(limit), begin(limit)
    third = begin_late(limit)
    for thread in (first, second, third):
        thread.finish()


def test_without_a_limit_and_without_a_turn_nobody_waits():
    limit = turns.Turns(0)
    threads = [begin(limit) for _ in range(5)]
    for thread in threads:
        thread.finish()
    started = time.monotonic()
    with turns.waiting():
        pass
    assert time.monotonic() - started < 1


def test_an_error_gives_the_turn_back():
    limit = turns.Turns(1, patience=WAIT)
    for _ in range(3):
        try:
            with limit.taken(), turns.waiting():
                raise ValueError
        except ValueError:
            continue
    begin(limit).finish()
