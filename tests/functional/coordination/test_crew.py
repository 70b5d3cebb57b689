# SPDX-License-Identifier: Apache-2.0
"""Groups and locks on each coordination backend, with processes that are killed."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tooz import coordination

from multiattach.coordination import Crew, connect, disconnect
from multiattach.volume.locks import VolumeLocks
from tests.testbed.polling import wait_until

IDS = [str(uuid.UUID(int=n)) for n in range(200)]
VOLUME = str(uuid.UUID(int=7))


@contextlib.contextmanager
def connected(url: str, name: str) -> Iterator[coordination.CoordinationDriver]:
    coordinator = connect(url, name)
    try:
        yield coordinator
    finally:
        disconnect(coordinator)


@contextlib.contextmanager
def member(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    program = 'tests.functional.coordination.member'
    child = subprocess.Popen([sys.executable, '-m', program, url, name, VOLUME], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == 'ready\n'
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def wait_for(condition: Any, seconds: float = 15) -> None:
    wait_until(condition, seconds, 'what the test waits for', 0.1)


def shares(*crews: Crew) -> list[int]:
    return [sum(crew.owns(ident) for ident in IDS) for crew in crews]


def test_everything_has_one_owner(backend_url: str) -> None:
    with connected(backend_url, 'one') as one, connected(backend_url, 'two') as two:
        first, second = Crew(one, 'test'), Crew(two, 'test')
        first.join()
        assert shares(first) == [len(IDS)]
        second.join()
        first.refresh()
        assert first.members == second.members == ['one', 'two']
        assert all(first.owns(ident) != second.owns(ident) for ident in IDS)
        assert min(shares(first, second)) > len(IDS) / 10
        second.leave()
        first.refresh()
        assert shares(first) == [len(IDS)]


def test_what_a_killed_process_had_goes_to_the_others(backend_url: str) -> None:
    with connected(backend_url, 'one') as one, member(backend_url, 'two') as child:
        crew = Crew(one, 'test')
        crew.join()
        assert 0 < shares(crew)[0] < len(IDS)
        child.kill()

        def took_over() -> bool:
            crew.refresh()
            return shares(crew) == [len(IDS)]

        wait_for(took_over)
        # Its lock is free too: at once or when it ran out.
        taken = threading.Event()

        def take() -> None:
            with VolumeLocks(one).hold(VOLUME, 'test'):
                taken.set()

        threading.Thread(target=take, daemon=True).start()
        assert taken.wait(15)


def test_a_member_is_known_to_be_dead_after_two_looks(backend_url: str) -> None:
    with connected(backend_url, 'one') as one, member(backend_url, 'two') as child:
        crew = Crew(one, 'test')
        crew.join()
        assert crew.me == 'one'
        assert not crew.refresh()
        assert crew.members == ['one', 'two']
        child.kill()
        child.wait()

        def is_missing() -> bool:
            assert not crew.refresh()
            return crew.members == ['one']

        wait_for(is_missing)
        assert not crew.is_gone('two')  # the backend may just have lost its memory
        assert crew.refresh()
        assert crew.is_gone('two')
        assert not crew.refresh()  # it is told once
        assert crew.is_gone('two')
        with member(backend_url, 'two'):
            crew.refresh()
            assert not crew.is_gone('two')


def test_a_process_of_the_same_name_may_come_again(backend_url: str) -> None:
    with connected(backend_url, 'one') as one:
        with member(backend_url, 'two') as child:
            child.kill()
            child.wait()
        crew = Crew(one, 'test')
        crew.join()
        with connected(backend_url, 'two') as again:
            second = Crew(again, 'test')
            second.join()
            crew.refresh()
            assert crew.members == ['one', 'two']


def test_a_volume_is_locked_for_other_processes(backend_url: str) -> None:
    with connected(backend_url, 'one') as one, member(backend_url, 'two'):
        taken = threading.Event()

        def take() -> None:
            with VolumeLocks(one).hold(VOLUME, 'test'):
                taken.set()

        waiter = threading.Thread(target=take, daemon=True)
        waiter.start()
        # Longer than a lock lasts without a heartbeat: the holder's heartbeat keeps it.
        assert not taken.wait(5)


def test_a_copy_that_another_process_makes_is_not_waited_for(backend_url: str) -> None:
    with connected(backend_url, 'one') as one, member(backend_url, 'two') as child:
        locks = VolumeLocks(one)
        started = time.monotonic()
        with locks.try_storage(VOLUME) as held:
            assert not held
        assert time.monotonic() - started < 2
        child.kill()
        child.wait()

        def is_free() -> bool:
            with locks.try_storage(VOLUME) as held, locks.try_storage(VOLUME) as again:
                assert not (held and again), 'another thread took it, too'
                return held

        wait_for(is_free)


def test_threads_of_one_process_wait_for_each_other(backend_url: str) -> None:
    with connected(backend_url, 'one') as one:
        locks, inside, most = VolumeLocks(one), [0], [0]

        def work() -> None:
            with locks.hold(VOLUME, 'test'):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.01)
                inside[0] -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert most == [1]
        # Redis and etcd poll while they wait; the process's own lock does not.
        assert time.monotonic() - started < 5


def test_a_member_that_the_backend_forgot_joins_again(redis: Any) -> None:
    with connected(f'{redis.url}?timeout=3', 'one') as one:
        crew = Crew(one, 'forgotten')
        crew.join()
        one._client.flushall()
        crew.refresh()
        assert one.get_members(b'multiattach.forgotten').get() == {b'one'}


def test_without_the_backend_nothing_is_done(redis: Any, tmp_path: Any) -> None:
    from multiattach.domain import errors
    from tests.testbed.coordination import Redis

    with Redis(tmp_path) as server, connected(f'{server.url}?timeout=2', 'one') as one:
        locks = VolumeLocks(one)
        server.stop()
        with pytest.raises(errors.OutcomeUnknown, match='backend_url'), locks.hold(VOLUME, 'test'):
            raise AssertionError('the lock was not held')


@pytest.mark.parametrize('kind', ['redis', 'etcd'])
def test_a_program_ends_although_the_backend_hangs(kind: str, tmp_path: Any, caplog: Any) -> None:
    from tests.testbed.coordination import Etcd, Redis

    with {'redis': Redis, 'etcd': Etcd}[kind](tmp_path) as server:
        url = f'{server.url}{"&" if "?" in server.url else "?"}timeout=60'
        with connected(url, 'one') as one:
            crew = Crew(one, 'test')
            crew.join()
            server.daemons[0].send_signal(signal.SIGSTOP)
            try:
                started = time.monotonic()
                crew.leave()
                assert time.monotonic() - started < 8
                assert 'was not left' in caplog.text
            finally:
                server.daemons[0].send_signal(signal.SIGCONT)
