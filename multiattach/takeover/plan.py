# SPDX-License-Identifier: Apache-2.0
"""What of a Cinder can be taken over, and why the rest cannot."""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from multiattach.domain.imports import Item, Kind, Obstacle
from multiattach.takeover import catalog, settings, snapshots
from multiattach.takeover.attachments import Refusal, is_gone
from multiattach.takeover.source import Contents
from multiattach.takeover.volumes import Facts, Place, Translator

_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an import brings.

    :param items: in the order of :class:`~multiattach.domain.imports.Kind`.
    :param obstacles: why other things stay in Cinder.
    :param skipped: number of rows that are left out by kind, as they mean nothing: old ids, say.
    :param present: what Cinder has, whether it can be imported or not.
    """

    items: Sequence[Item]
    obstacles: Sequence[Obstacle]
    skipped: dict[str, int]
    present: frozenset[tuple[Kind, str]] = frozenset()

    def count(self) -> dict[str, int]:
        found = collections.Counter(item.kind for item in self.items)
        return {kind: found[kind] for kind in Kind}


def make_plan(contents: Contents, find: Callable[[str], Place | None], conf: settings.CinderConf | None) -> Plan:
    """Judge all of it.

    :param find: returns where volumes of a ``host`` of Cinder are to be, None if nobody said.
    """
    obstacles: list[Obstacle] = []
    skipped: collections.Counter[str] = collections.Counter()
    qos = list(catalog.list_qos(contents, obstacles))
    types = list(catalog.list_types(contents, {item.ident for item in qos}))
    taken, kept = _judge_snapshots(contents, obstacles)
    facts = Facts(
        find,
        conf,
        frozenset(item.ident for item in types),
        frozenset(row.volume_type_id for row in contents.encryptions),
        kept,
    )
    volumes = list(_translate(contents, facts, obstacles, skipped))
    moved = {item.ident for item in volumes if item.kind is Kind.VOLUME}
    volumes += [item for item in taken if item.rows['snapshots'][0]['volume_id'] in moved]
    obstacles += _list_left_behind(contents)
    items = [*qos, *types, *catalog.list_default_types(contents), *catalog.list_quotas(contents), *volumes]
    order = {kind: number for number, kind in enumerate(Kind)}
    return Plan(sorted(items, key=lambda item: order[item.kind]), obstacles, dict(skipped), _list_present(contents))


def _list_present(contents: Contents) -> frozenset[tuple[Kind, str]]:
    return frozenset(
        {
            *((Kind.QOS, row.id) for row in contents.qos_specs),
            *((Kind.TYPE, row.id) for row in contents.types),
            *((Kind.VOLUME, row.id) for row in contents.volumes),
            *((Kind.SNAPSHOT, row.id) for row in contents.snapshots),
            *((Kind.ATTACHMENT, row.id) for row in contents.attachments if not is_gone(row.attach_status)),
        }
    )


def _translate(
    contents: Contents, facts: Facts, obstacles: list[Obstacle], skipped: collections.Counter[str]
) -> Iterator[Item]:
    translator = Translator(contents, facts)
    for row in contents.volumes:
        if not _UUID.fullmatch(row.id):
            skipped['volumes with an id of before 2013'] += 1
            continue
        try:
            yield from translator.translate(row)
        except Refusal as exc:
            obstacles.append(Obstacle(Kind.VOLUME, row.id, row.project_id, row.display_name, exc.reason, exc.remedy))


def _judge_snapshots(contents: Contents, obstacles: list[Obstacle]) -> tuple[list[Item], frozenset[str]]:
    """Make items of snapshots.

    :returns: the items, and the volumes of those that cannot be imported.
    """
    metadata = catalog.group(contents.snapshot_metadata, 'snapshot_id')
    found, kept = [], set()
    for row in contents.snapshots:
        try:
            found.append(snapshots.translate(row, metadata.get(row.id, [])))
        except Refusal as exc:
            kept.add(row.volume_id)
            obstacles.append(Obstacle(Kind.SNAPSHOT, row.id, row.project_id, row.display_name, exc.reason, exc.remedy))
    return found, frozenset(kept)


def _list_left_behind(contents: Contents) -> Iterator[Obstacle]:
    """Tell of what there is no such thing here."""
    for row in contents.backups:
        yield _leave(
            'backup',
            row,
            row.display_name,
            'There are no backups here.',
            'Restore what is needed; keep Cinder and its backup service for the rest.',
        )
    for row in contents.groups:
        yield _leave('group', row, row.name, 'There are no groups here.', 'Delete the group without its volumes.')


def _leave(kind: str, row: Any, name: str | None, reason: str, remedy: str) -> Obstacle:
    return Obstacle(kind, row.id, row.project_id, name, reason, remedy)
