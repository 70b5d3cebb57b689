# SPDX-License-Identifier: Apache-2.0
"""What the service's own user may do at the monitors, tried by what changes nothing, before it is needed."""

import contextlib
import uuid
from typing import Any

from multiattach.drivers.ceph.pool import PREFIX, Pool

_NOBODY = f'{PREFIX}{uuid.UUID(int=0)}'
_INCOMPLETE = ['mon']  # no capability follows: refused, but only to those who may ask at all
# An address for documentation (RFC 5737), which nobody can have.
_NOWHERE = '192.0.2.1:0/1'
_USERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ('auth get', {'entity': _NOBODY}),
    ('auth caps', {'entity': _NOBODY, 'caps': ['mon', 'allow r']}),
    ('auth rm', {'entity': _NOBODY}),
    ('auth add', {'entity': _NOBODY, 'caps': _INCOMPLETE}),
    ('auth get-or-create', {'entity': _NOBODY, 'caps': _INCOMPLETE}),
)
_BLOCKLIST: tuple[tuple[str, dict[str, Any]], ...] = (('osd blocklist', {'blocklistop': 'rm', 'addr': _NOWHERE}),)


def check_access(pool: Pool, *, users: bool) -> None:
    """See that instances can be blocklisted.

    :param users: and users of attachments be made and removed.
    :raises StorageError: a capability is missing; the message has the line that grants it.
    """

    def check(_io: Any, _progress: Any) -> None:
        for command, words in (*_BLOCKLIST, *(_USERS if users else ())):
            with contextlib.suppress(pool.rados.Error):  # there is no such user: it may ask
                pool.ask(command, **words)

    pool.run('try what the monitors let it do', check)
