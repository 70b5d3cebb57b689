# SPDX-License-Identifier: Apache-2.0
"""Cephx users ``client.multiattach-ATTACHMENT``: each reaches one image and nothing else."""

import dataclasses
import errno
import re
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach.drivers.ceph import images
from multiattach.drivers.ceph.pool import PREFIX, Pool

_IMAGE = re.compile(r'pool=(?P<pool>\S+) object_prefix rbd_id\.(?P<image>[^\s,]+)')


@dataclasses.dataclass(frozen=True)
class User:
    """A user as the monitors have it.

    :param entity: its name, with ``client.``.
    :param capabilities: by service.
    """

    entity: str
    key: str = dataclasses.field(repr=False)
    capabilities: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.entity.removeprefix('client.')

    @property
    def attachment_id(self) -> str:
        return self.entity.removeprefix(PREFIX)

    @property
    def image(self) -> tuple[str, str] | None:
        """Return the pool and the name of the image that it reaches; None if that cannot be told."""
        found = _IMAGE.search(self.capabilities.get('osd', ''))
        return (found['pool'], found['image']) if found else None

    @property
    def keyring(self) -> str:
        """The text of a keyring file: a secret."""
        return f'[{self.entity}]\n\tkey = {self.key}\n'


def make_entity(attachment_id: str) -> str:
    return f'{PREFIX}{attachment_id}'


class Users:
    """Users of attachments. A user's key lets in who has it, until :meth:`remove`.

    Who is in then stays in, for tickets last up to an hour: see :mod:`multiattach.drivers.ceph.blocklist`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def make(self, attachment_id: str, image: str, *, read_only: bool, key: str | None = None) -> User:
        """Make a user of one image, or give the one that is there these capabilities.

        :param image: its name.
        :param key: the key that it must have; None for any.
        :raises StorageError: there is no such image, or the service's own user may not make users.
        """
        entity = make_entity(attachment_id)

        def make(io: Any, _progress: Any) -> User:
            own, parents = images.find_lineage(self._pool, io, image)
            osd = describe_capabilities(image, own, parents, read_only)
            caps = ['mon', 'allow r', 'osd', osd]
            if key is not None:
                self._settle_key(entity, key, caps)
            try:
                return _read(self._pool.ask('auth get-or-create', entity=entity, caps=caps))
            except self._pool.rados.Error as exc:
                if getattr(exc, 'errno', None) != errno.EINVAL:
                    raise
            # It is there with others: the image has been flattened since, or its attachment made anew.
            self._pool.ask('auth caps', entity=entity, caps=caps)
            return _read(self._pool.ask('auth get', entity=entity))

        return self._pool.run(f'make user {entity}', make)

    def _settle_key(self, entity: str, key: str, caps: Sequence[str]) -> None:
        """Have a user that is not there, or has another key, be made anew with this one."""
        try:
            if _read(self._pool.ask('auth get', entity=entity)).key == key:
                return
            self._pool.ask('auth rm', entity=entity)
        except self._pool.rados.Error as exc:
            if getattr(exc, 'errno', None) != errno.ENOENT:
                raise
        self._pool.ask('auth add', f'[{entity}]\n\tkey = {key}\n'.encode(), entity=entity, caps=caps)

    def find(self, attachment_id: str) -> User | None:
        """Read a user, None if there is none."""
        entity = make_entity(attachment_id)

        def find(_io: Any, _progress: Any) -> User | None:
            try:
                return _read(self._pool.ask('auth get', entity=entity))
            except self._pool.rados.Error as exc:
                if getattr(exc, 'errno', None) == errno.ENOENT:
                    return None
                raise

        return self._pool.run(f'read user {entity}', find)

    def remove(self, *attachment_ids: str) -> None:
        """Remove users; absent is success. Nobody logs in with their keys any more."""
        wanted = [{'entity': make_entity(one)} for one in attachment_ids]
        if wanted:
            what = f'remove users {", ".join(one["entity"] for one in wanted)}'
            self._pool.run(what, lambda _io, _progress: self._pool.ask_all('auth rm', wanted))

    def list_users(self) -> Sequence[User]:
        """List the users of this service's kind whose image is in the pool; another service's may be among them."""
        found = self._pool.run('list users', lambda _io, _progress: self._pool.ask('auth ls'))['auth_dump']
        mine = [_read([one]) for one in found if one['entity'].startswith(PREFIX)]
        return [one for one in mine if one.image is not None and one.image[0] == self._pool.cluster.pool]


def _read(answer: Sequence[Mapping[str, Any]]) -> User:
    (one,) = answer
    return User(one['entity'], one['key'], dict(one['caps']))


def describe_capabilities(image: str, own: images.Part, parents: Sequence[images.Part], read_only: bool) -> str:
    """Write what a user of an image may do at the OSDs.

    At the monitors it may read, and not more: with ``profile rbd`` it could blocklist others. QEMU opens every image to
    write and watches its header, also where it only reads. That takes ``w`` there: a user who may only read cannot
    change what is in the image, but could spoil what describes it.

    :param image: its name.
    :param parents: as :func:`images.find_lineage` returns them. To open a parent librbd asks for its name: the names
        of a pool's images can be read by whoever has an image that shares blocks with one of them.
    """
    others = 'r class-read'
    data, header = (others, 'rw class-read') if read_only else ('rwx', 'rwx')
    pool, (data_pool, prefix) = own.pool, own.objects
    grants = [(data, data_pool, f'{prefix}.')]
    grants += [(header, pool, f'rbd_header.{own.ident}'), (others, pool, f'rbd_id.{image}')]
    for one in parents:
        grants += [(others, *one.objects), (others, one.pool, f'rbd_header.{one.ident}')]
    pools = dict.fromkeys([pool, *(one.pool for one in parents)])
    grants += [('class-read', one, 'rbd_info') for one in pools]
    families = dict.fromkeys(one.pool for one in parents)
    grants += [('class-read', one, name) for one in families for name in ('rbd_directory', 'rbd_trash')]
    return ', '.join(f'allow {may} pool={where} object_prefix {prefix}' for may, where, prefix in grants)
