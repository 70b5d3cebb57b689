# SPDX-License-Identifier: Apache-2.0
"""What one request, or many odd ones, may cost: memory and time are measured, not only refusals."""

import itertools
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from urllib import parse

import pytest

from multiattach.db import paging
from multiattach.domain import bounds
from multiattach.engine import queries
from tests.functional.api.conftest import Caller

MEBIBYTE = 2**20


def measure(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Do something; its result, MiB at its peak and seconds of CPU."""
    tracemalloc.start()
    started = time.thread_time()
    try:
        result = work()
        seconds = time.thread_time() - started
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return result, peak / MEBIBYTE, seconds


@pytest.mark.parametrize('path', ['/volumes', '/attachments', '/types', '/messages', '/qos-specs'])
@pytest.mark.parametrize('keys', ['id,' * 1200, 'created_at:asc,created_at:desc', 'id,' * 2])
def test_each_sort_key_once(call: Caller, path: str, keys: str) -> None:
    volume = call.make_volume()
    reply, peak, seconds = measure(lambda: call('GET', f'{path}?sort={keys}&marker={volume}'))
    assert reply.status_int == 400
    assert 'more than once' in reply.json['badRequest']['message']
    assert peak < 8
    assert seconds < 2


def test_two_spellings_of_one_column_are_one_key(call: Caller) -> None:
    assert call('GET', '/volumes?sort=name,display_name').status_int == 400
    assert call('GET', '/attachments?sort=status,attach_status').status_int == 400


def orders() -> Iterator[str]:
    rand = random.Random(7)
    keys = sorted({column: key for key, column in queries.VOLUME_SORT_KEYS.items()}.values())
    found = []
    for _ in range(400):
        rand.shuffle(keys)
        found.append(','.join(f'{key}:{rand.choice(("asc", "desc"))}' for key in keys))
    return itertools.cycle(found)


def test_the_longest_order_is_cheap_and_many_of_them_leave_nothing(call: Caller) -> None:
    volume, order = call.make_volume(), orders()

    def ask(number: int) -> None:
        for _ in range(number):
            assert call('GET', f'/volumes/detail?sort={next(order)}&marker={volume}').status_int == 200

    ask(3)
    known = len(call.deployed.db.read_engine._compiled_cache or ())
    _, peak, seconds = measure(lambda: ask(1))
    assert peak < 8
    assert seconds < 2
    ask(150)  # whatever has a bound has reached it
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        ask(200)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # As many statements again in a cache without a bound would be 30 MiB; these took others' places,
    # which were there before anybody counted.
    cache = paging.SHAPED['compiled_cache']
    assert len(cache) <= cache.capacity * 1.5
    assert grown < 25 * MEBIBYTE
    assert len(call.deployed.db.read_engine._compiled_cache or ()) <= known + 10


@pytest.mark.parametrize('key', ['metadata', 'glance_metadata'])
def test_keys_of_a_filter(call: Caller, key: str) -> None:
    def ask(number: int) -> int:
        text = parse.quote(repr({f'k{i}': 'v' for i in range(number)}))
        return int(call('GET', f'/volumes?all_tenants=1&{key}={text}').status_int)

    assert ask(bounds.CONDITIONS) == 200
    assert ask(bounds.CONDITIONS + 1) == 400


def test_extra_specs_of_a_filter(call: Caller) -> None:
    text = parse.quote(repr({f'k{i}': 'v' for i in range(bounds.CONDITIONS + 1)}))
    assert call('GET', f'/types?extra_specs={text}').status_int == 400


@pytest.mark.parametrize('key', ['created_at', 'updated_at'])
def test_comparisons_of_a_time(call: Caller, key: str) -> None:
    def ask(number: int) -> int:
        return int(call('GET', f'/volumes?{key}=' + ','.join(['gt:2026-01-01'] * number)).status_int)

    assert ask(bounds.CONDITIONS) == 200
    assert ask(bounds.CONDITIONS + 1) == 400


def numbered(start: int, number: int) -> dict[str, str]:
    return {f'k{i}': 'v' for i in range(start, start + number)}


def test_keys_of_metadata(call: Caller) -> None:
    most = bounds.ITEMS
    wish = {'volume': {'size': 1, 'metadata': numbered(0, most + 1)}}
    assert call('POST', '/volumes', wish).status_int == 400
    volume = call.make_volume()
    for path in (f'/volumes/{volume}', f'/volumes/{volume}/metadata'):
        inner: Any = {'metadata': numbered(0, most + 1)}
        body = inner if path.endswith('metadata') else {'volume': inner}
        assert call('PUT', path, body).status_int == 400
    add = f'/volumes/{volume}/metadata'
    assert call('POST', add, {'metadata': numbered(0, most - 1)}).status_int == 200
    assert call('POST', add, {'metadata': numbered(most - 2, 3)}).status_int == 400
    assert len(call.show(volume)['metadata']) == most - 1
    assert call('POST', add, {'metadata': numbered(most - 2, 2)}).status_int == 200
    assert call('PUT', f'{add}/one-more', {'meta': {'one-more': 'v'}}).status_int == 400
    assert call('PUT', f'{add}/k1', {'meta': {'k1': 'w'}}).status_int == 200
    assert len(call.show(volume)['metadata']) == most


def test_keys_of_image_metadata(call: Caller) -> None:
    volume = call.make_volume()

    def set_some(start: int, number: int) -> int:
        return int(call.act(volume, 'os-set_image_metadata', {'metadata': numbered(start, number)}).status_int)

    assert set_some(0, bounds.ITEMS + 1) == 400
    assert set_some(0, bounds.ITEMS) == 200
    assert set_some(bounds.ITEMS, 1) == 400
    assert set_some(3, 1) == 200


def test_keys_of_extra_specs_and_of_qos_specs(call: Caller) -> None:
    many, more = numbered(0, bounds.ITEMS), {'one-more': 'v'}
    too_many = {'volume_type': {'name': 'x', 'extra_specs': many | more}}
    assert call('POST', '/types', too_many).status_int == 400
    made = call('POST', '/types', {'volume_type': {'name': 'x', 'extra_specs': many}})
    specs = f'/types/{made.json["volume_type"]["id"]}/extra_specs'
    assert call('POST', specs, {'extra_specs': more}).status_int == 400
    assert call('PUT', f'{specs}/one-more', more).status_int == 400
    assert call('PUT', f'{specs}/k1', {'k1': 'w'}).status_int == 200

    made = call('POST', '/qos-specs', {'qos_specs': {'name': 'x', **dict(list(many.items())[2:])}})
    path = f'/qos-specs/{made.json["qos_specs"]["id"]}'
    assert call('PUT', path, {'qos_specs': numbered(bounds.ITEMS - 2, 5)}).status_int == 400
    assert call('PUT', path, {'qos_specs': numbered(bounds.ITEMS - 2, 1)}).status_int == 200
