# SPDX-License-Identifier: Apache-2.0
"""What an import would bring, or has brought, for people and for programs."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from multiattach.db.imports import Comparison, Undone
from multiattach.domain.imports import Kind, Obstacle
from multiattach.takeover.imports import Findings

_MOST = 200  # obstacles that people are shown
_WORDS = {'new': 'new', 'changed': 'changed in Cinder', 'gone': 'no more in Cinder', 'kept': 'here already'}


def _count(found: Comparison) -> dict[str, collections.Counter[str]]:
    return {
        'new': collections.Counter(item.kind for item in found.new),
        'changed': collections.Counter(item.kind for item in found.changed),
        'gone': collections.Counter(kind for kind, _ in found.gone),
        'kept': collections.Counter(kind for kind, _ in found.kept),
    }


def describe(found: Findings) -> dict[str, Any]:
    """Write findings as JSON: it holds no secret."""
    counts = _count(found.comparison)
    return {
        'schema': found.revision,
        'items': found.plan.count(),
        **{name: {kind: its[kind] for kind in Kind} for name, its in counts.items()},
        'same': found.comparison.same,
        'left': [dataclasses.asdict(one) for one in found.obstacles],
        'skipped': found.plan.skipped,
        'notes': list(found.notes),
    }


def tell(found: Findings, *, done: bool) -> Iterator[str]:
    """Write findings for people.

    :param done: they are what an import has brought.
    """
    counts, items = _count(found.comparison), found.plan.count()
    yield f"Of Cinder's database (schema {found.revision or 'unknown'}) {'was' if done else 'would be'} imported:"
    for kind in Kind:
        parts = [f'{its[kind]} {_WORDS[name]}' for name, its in counts.items() if its[kind]]
        yield f'    {kind:<14}{items[kind]:>8}{": " if parts else ""}{", ".join(parts)}'
    if found.comparison.same:
        yield f'    {found.comparison.same} of them were imported before and are the same in Cinder.'
    for words, number in found.plan.skipped.items():
        yield f'Left out: {number} {words}.'
    yield from (f'Note: {note}' for note in found.notes)
    yield from tell_obstacles('cannot be imported', found.obstacles)


def tell_obstacles(words: str, found: Iterable[Obstacle]) -> Iterator[str]:
    """Write why things are as they are, and what to do about it."""
    rows = list(found)
    if rows:
        yield f'{len(rows)} {words}:'
    for one in rows[:_MOST]:
        name = f' "{one.name}"' if one.name else ''
        project = f' of project {one.project_id}' if one.project_id else ''
        yield f'    {one.kind} {one.ident}{name}{project}: {one.reason}'
        yield f'        {one.remedy}'
    if len(rows) > _MOST:
        yield f'    … and {len(rows) - _MOST} more: --format json lists all.'


def describe_undo(found: Undone) -> dict[str, Any]:
    return {'undone': found.counts, 'changed': [dataclasses.asdict(one) for one in found.changed]}
