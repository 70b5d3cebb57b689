# SPDX-License-Identifier: Apache-2.0
from multiattach.drivers.backends.names import Stored, sort_names

A, B, C = (f'{number}5a0c1d2-0000-4000-8000-000000000000' for number in range(3))


def test_names_of_this_service_and_no_others():
    names = [
        f'volume-{A}',
        f'draft-{B}',
        f'trash-{C}.0f',
        f'snapshot-{A}',
        f'_snapshot-{A}',
        f'volume-{A}-x',
        'volume-1',
    ]
    assert sort_names(names) == Stored(frozenset({A}), frozenset({B, C}))


def test_trash_that_keeps_the_names_of_things():
    assert sort_names([f'volume-{A}'], [f'volume-{A}', f'draft-{B}', 'other']) == Stored(
        frozenset({A}), frozenset({A, B})
    )
