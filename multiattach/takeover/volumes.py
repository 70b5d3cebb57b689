# SPDX-License-Identifier: Apache-2.0
"""Volumes of Cinder: which can be taken over where they are, and as what."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from multiattach.domain import connection, states
from multiattach.domain.imports import Item, Kind
from multiattach.takeover import attachments, settings
from multiattach.takeover.attachments import Refusal
from multiattach.takeover.catalog import group
from multiattach.takeover.source import Contents

V = states.Volume
_UNREPLICATED = frozenset({None, '', 'disabled', 'not-capable'})
_NOT_MIGRATING = frozenset({None, '', 'none', 'success', 'error'})
_WAIT = 'Wait until it is done. If nobody is at it any more: openstack volume set --state …, as "cinder-manage" says.'


@dataclasses.dataclass(frozen=True)
class Place:
    """A backend here that is to have volumes.

    :param service_uuid: its worker, None if none ever reported.
    :param protocol: how hosts reach its volumes, None if nobody reported.
    :param portal: where they do, as its worker reports it.
    :param keeps_names: its worker serves storage that is named after another id than its volume.
    :param has_lio: its target is the kernel's; None if nobody reported.
    """

    host: str
    service_uuid: str | None = None
    protocol: str | None = None
    portal: str | None = None
    keeps_names: bool = True
    has_lio: bool | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
    """What volumes are judged by, beside their own rows.

    :param find: returns where the volumes of a ``host`` of Cinder are to be, None if nobody said.
    :param conf: what cinder.conf says, None if it was not given.
    :param types: ids of the types that are imported.
    :param encrypted: types whose volumes are encrypted.
    :param with_snapshots: volumes that have snapshots which stay behind.
    """

    find: Callable[[str], Place | None]
    conf: settings.CinderConf | None
    types: frozenset[str]
    encrypted: frozenset[str]
    with_snapshots: frozenset[str]


class Translator:
    def __init__(self, contents: Contents, facts: Facts) -> None:
        self._facts = facts
        self._metadata = group(contents.metadata, 'volume_id')
        self._admin = group(contents.admin_metadata, 'volume_id')
        self._image = group((row for row in contents.image_metadata if not row.snapshot_id), 'volume_id')
        self._attachments = group(contents.attachments, 'volume_id')
        self._accounts = attachments.count_accounts(contents.attachments)
        self._names = collections.Counter(_find_name(row) for row in contents.volumes)

    def translate(self, row: Any) -> list[Item]:
        """Make items of a volume and its attachments.

        :raises Refusal: it cannot be imported.
        """
        for check in (_check_itself, self._check_features, self._check_backend):
            check(row)
        place = self._find_place(row)
        self._check_name(row, place)
        name = f'volume-{_find_name(row)}'
        its = [
            item
            for each in self._attachments.get(row.id, ())
            if (item := attachments.translate(each, name)) is not None
        ]
        self._check_protocol(row, place, its)
        _check_target(place, its)
        self._check_accounts(its)
        return [Item(Kind.VOLUME, row.id, self._describe(row, place, _judge_status(row, its))), *its]

    def _check_features(self, row: Any) -> None:
        facts = self._facts
        if row.encryption_key_id or row.volume_type_id in facts.encrypted:
            raise Refusal('It is encrypted.', 'Copy its data to a volume of a type that is not encrypted.')
        if row.volume_type_id not in facts.types:
            raise Refusal(f'Its type {row.volume_type_id} is deleted.', 'Retype it: cinder retype VOLUME TYPE')
        if row.id in facts.with_snapshots:
            raise Refusal(
                'It has snapshots that cannot be imported.', 'Delete them, or copy what they hold to volumes.'
            )

    def _check_name(self, row: Any, place: Place) -> None:
        name = f'volume-{_find_name(row)}'
        if self._names[_find_name(row)] > 1:
            raise Refusal(
                f'Its storage {name} is that of another volume, too, by what Cinder has recorded.',
                'Wait until its migration is done; or find out whose it is, and delete the other one.',
            )
        if not place.keeps_names and _find_name(row) != row.id:
            raise Refusal(
                f'Its storage is named {name}, and the worker of {place.host} is of a release that would not find it.',
                'Upgrade multiattach-volume there, and start it once.',
            )

    def _check_backend(self, row: Any) -> None:
        conf = self._facts.conf
        if conf is None:
            return
        if not conf.names_volumes_as_here:
            raise Refusal(
                f'volume_name_template in cinder.conf is {conf.name_template!r}: its storage has another name than '
                'here.',
                'Only volumes of the name volume-%s can be taken over where they are.',
            )
        section = row.host.partition('#')[0].rpartition('@')[2]
        found = conf.backends.get(section)
        if found is None:
            return
        if found.driver not in settings.DRIVERS:
            raise Refusal(
                f'Its driver is {found.driver or "not set"} ([{section}] volume_driver).',
                'There are drivers here for LVM and RBD: migrate it to such a backend in Cinder, or leave it there.',
            )
        if settings.DRIVERS[found.driver] == connection.ISCSI and found.protocol != connection.ISCSI:
            raise Refusal(
                f'It is exported by {found.protocol} ([{section}] target_protocol).',
                'Detach it and set target_protocol = iscsi, target_helper = tgtadm.',
            )

    def _find_place(self, row: Any) -> Place:
        place = self._facts.find(row.host)
        if place is None:
            raise Refusal(
                f'No backend here is to have the volumes of {row.host}.',
                f'Name one: --backend {row.host}=HOST@BACKEND, as "multiattach-manage service list" shows it.',
            )
        return place

    def _check_protocol(self, row: Any, place: Place, its: Sequence[Item]) -> None:
        conf, theirs = self._facts.conf, None
        section = row.host.partition('#')[0].rpartition('@')[2]
        if conf is not None and section in conf.backends:
            theirs = settings.DRIVERS[conf.backends[section].driver]
        told = {one['connection_info']['driver_volume_type'] for one in _list_connected(its)}
        theirs = theirs or next(iter(told), None)
        if place.protocol and theirs and place.protocol != theirs:
            raise Refusal(
                f'Hosts reach it by {theirs}, and volumes of {place.host} by {place.protocol}.',
                'Name a backend of the same kind of storage with --backend.',
            )

    def _check_accounts(self, its: Sequence[Item]) -> None:
        for item in its:
            account = item.rows['attachments'][0]['shared_account']
            if account and self._accounts[account] > 1:
                raise Refusal(
                    f'Its CHAP account {account} is that of {self._accounts[account] - 1} other volumes, too.',
                    'Detach it, and attach it again without chap_username in cinder.conf.',
                )

    def _describe(self, row: Any, place: Place, status: str) -> dict[str, list[dict[str, Any]]]:
        admin = {each.key: each.value for each in self._admin.get(row.id, ())}
        readonly = admin.get('readonly')
        own = {
            **{name: getattr(row, name) for name in ('id', 'project_id', 'user_id', 'size', 'volume_type_id')},
            **{name: getattr(row, name) for name in ('display_name', 'display_description', 'availability_zone')},
            **{name: getattr(row, name) for name in ('source_volid', 'snapshot_id', 'created_at', 'updated_at')},
            'new_size': None,
            'multiattach': bool(row.multiattach),
            'bootable': bool(row.bootable),
            'readonly': None if readonly is None else readonly.lower() == 'true',
            'host': place.host,
            'service_uuid': place.service_uuid,
            'status': status,
            'claim': None,
            'deleted_at': None,
            'name_id': None if _find_name(row) == row.id else _find_name(row),
        }
        return {
            'volumes': [own],
            'volume_metadata': _list_items(row.id, self._metadata),
            'volume_image_metadata': _list_items(row.id, self._image),
        }


def _list_items(volume_id: str, rows: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    found = {each.key: each.value or '' for each in rows.get(volume_id, ())}
    return [{'volume_id': volume_id, 'key': key, 'value': value} for key, value in found.items()]


def _check_target(place: Place, its: Sequence[Item]) -> None:
    """See that the sessions of a volume go on: they are with the kernel, or with tgtd."""
    for one in _list_connected(its):
        number = one['connection_info'].get('target_lun')
        if place.has_lio is None or number is None or place.has_lio == (number == connection.LIO_LUN):
            continue
        theirs, ours = ('tgt', 'lio') if place.has_lio else ('lio', 'tgt')
        raise Refusal(
            f'Its attachment {one["id"]} is connected as LUN {number}, which {theirs} serves, and the worker of '
            f'{place.host} exports by {ours}.',
            f'Set target_driver = {theirs} in the group of the backend, and restart multiattach-volume.',
        )


def _list_connected(its: Sequence[Item]) -> Iterator[Mapping[str, Any]]:
    return (item.rows['attachments'][0] for item in its if item.rows['attachments'][0]['connection_info'])


def _find_name(row: Any) -> str:
    """Return the id after which a volume's storage and target are named; in use it is another one once it migrated."""
    return str(row._name_id or row.id)


def _check_itself(row: Any) -> None:
    if not row.host or not row.size:
        raise Refusal('It has no storage: nothing ever made it.', 'Delete it: openstack volume delete --force VOLUME')
    if row.group_id or row.consistencygroup_id:
        raise Refusal('It is in a group.', 'Take it out: cinder group-update GROUP --remove-volumes VOLUME')
    if row.replication_status not in _UNREPLICATED:
        raise Refusal(
            f'It is replicated ({row.replication_status}).', 'Retype it to a type without replication, in Cinder.'
        )
    if row.migration_status not in _NOT_MIGRATING:
        raise Refusal(f'It is being migrated ({row.migration_status}).', 'Wait until that is done.')


def _judge_status(row: Any, its: Sequence[Item]) -> str:
    """Return the status here, which the attachments decide unless it tells of a failure."""
    if row.status in states.FAILED or row.status == V.MAINTENANCE:
        return str(row.status)
    counts: dict[str, int] = {}
    for item in its:
        state = item.rows['attachments'][0]['state']
        counts[state] = counts.get(state, 0) + 1
    derived = states.derive_status(counts, None)
    if row.status not in states.DERIVED_STATUSES or row.status in states.MARKED:
        remedy = 'Accept or delete the transfer first.' if row.status == 'awaiting-transfer' else _WAIT
        raise Refusal(f'It is {row.status}.', remedy)
    if derived != row.status:
        raise Refusal(
            f'It is {row.status}, and by its attachments it is {derived}.',
            f'Set what is true: openstack volume set --state {derived} VOLUME, or delete attachments that are none.',
        )
    return derived
