# SPDX-License-Identifier: Apache-2.0
"""What lists of servers can be filtered by: a table from a key to a condition."""

import re
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from multiattach.db import models
from multiattach.db.filters import Condition, nothing, parse_time
from multiattach.domain import errors, idents, servers

S = models.Server
Filter = Callable[[str], Condition]
_ESCAPE = '!'
_WILD = {'.*': '%', '.': '_'}
_TOKENS = re.compile(r'\.\*|\\.|.', re.DOTALL)
_CHOICE = re.compile(r'(\^?)\(([^()\\]*)\)(\$?)')
_UNKNOWN = frozenset('\\[](){}|*+?^$')
_FALSE = frozenset({'', '0', 'false', 'no', 'off', 'f', 'n'})


def _matches(column: sa.orm.InstrumentedAttribute[str]) -> Filter:
    def build(value: str) -> Condition:
        return sa.or_(*(column.ilike(_translate(one, value), escape=_ESCAPE) for one in _split(value)))

    return build


def _split(pattern: str) -> list[str]:
    """Split alternatives: ``a|b``, or ``^(a|b)$``."""
    found = _CHOICE.fullmatch(pattern)
    if found:
        return [f'{found[1]}{one}{found[3]}' for one in found[2].split('|')]
    return pattern.split('|')


def _translate(pattern: str, whole: str) -> str:
    """Turn a regular expression of the kind that clients send into a pattern for LIKE.

    Nova hands any expression to its database; each database reads another dialect, and one that backtracks
    can be kept busy for good.
    """
    start, rest = ('', pattern[1:]) if pattern.startswith('^') else ('%', pattern)
    end = '%'
    if rest.endswith('$') and not rest.endswith('\\$'):
        rest, end = rest[:-1], ''
    parts = []
    for token in _TOKENS.findall(rest):
        if token in _WILD:
            parts.append(_WILD[token])
        elif len(token) == 1 and token in _UNKNOWN:
            raise errors.InvalidInput(
                f'{whole[:64]!r} is not understood: of regular expressions only ^, $, ".", ".*", "|" and '
                'a backslash before other signs are.'
            )
        else:
            sign = token[-1]
            parts.append(_ESCAPE + sign if sign in ('%', '_', _ESCAPE) else sign)
    return start + ''.join(parts) + end


def _equals(column: sa.orm.InstrumentedAttribute[str]) -> Filter:
    return lambda value: column == value


def _status(value: str) -> Condition:
    return S.power_state.in_(
        sorted({state for status in set(value.split(',')) for state in servers.power_states(status)})
    )


def _vm_state(value: str) -> Condition:
    return S.power_state.in_([state for state, known in servers.CONDITIONS.items() if known.vm_state == value])


def _power_state(value: str) -> Condition:
    return S.power_state.in_([state for state, known in servers.CONDITIONS.items() if str(known.number) == value])


def _never(_value: str) -> Condition:
    """Filter on what no server has here: an image, an address, a key pair."""
    return nothing()


def _always(_value: str) -> Condition:
    """Filter on the absence of what no server has here."""
    return sa.true()


def _unless(value: str) -> Condition:
    """Filter on a flag that is false for every server."""
    return sa.true() if value.strip().lower() in _FALSE else nothing()


def _changed() -> sa.ColumnElement[object]:
    return sa.func.coalesce(S.updated_at, S.created_at)


def _changes_since(value: str) -> Condition:
    condition: Condition = _changed() >= parse_time(value)
    return condition


def _changes_before(value: str) -> Condition:
    condition: Condition = _changed() <= parse_time(value)
    return condition


# For everybody, with the compute API's microversion from which; before it admins only.
EVERYBODY: Mapping[str, tuple[int, Filter]] = {
    'name': (0, _matches(S.name)),
    'status': (0, _status),
    'image': (0, _never),
    'flavor': (0, _never),
    'ip': (0, _never),
    'reservation_id': (0, _never),
    'changes-since': (0, _changes_since),
    'ip6': (5, _never),
    'tags': (26, _never),
    'tags-any': (26, _never),
    'not-tags': (26, _always),
    'not-tags-any': (26, _always),
    'changes-before': (66, _changes_before),
    'locked': (73, _unless),
    'availability_zone': (83, _never),
    'config_drive': (83, _unless),
    'key_name': (83, _never),
    'created_at': (83, _never),
    'launched_at': (83, _never),
    'terminated_at': (83, _never),
    'power_state': (83, _power_state),
    'task_state': (83, _never),
    'vm_state': (83, _vm_state),
    'progress': (83, _never),
    'user_id': (83, _never),
}
ADMINS: Mapping[str, Filter] = {
    'uuid': lambda value: S.id == idents.normalise(value),
    'display_name': _matches(S.name),
    'hostname': _matches(S.name),
    'host': _equals(S.host),
    'node': _matches(S.host),
    'deleted': _unless,
    'soft_deleted': _unless,
    'image_ref': _never,
    'kernel_id': _never,
    'ramdisk_id': _never,
    'launch_index': _never,
    'description': _never,
    'display_description': _never,
    'locked_by': _never,
    'root_device_name': _never,
    'access_ip_v4': _never,
    'access_ip_v6': _never,
    'auto_disk_config': _unless,
}


def project(project_id: str) -> Condition:
    return S.project_id == project_id
