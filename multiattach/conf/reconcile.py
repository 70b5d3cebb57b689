# SPDX-License-Identifier: Apache-2.0
"""Options of looking for drift and putting it right."""

from typing import Any

from oslo_config import cfg, types

from multiattach.domain.drift import Action, Drift
from multiattach.domain.findings import FEW

GROUP = 'reconcile'


class _ByKind(types.Dict):
    """Values by kind of drift; another kind, or another value, is refused."""

    def __call__(self, value: Any) -> Any:
        """Read a value.

        :returns: values by kind.
        """
        found = super().__call__(value)
        for kind in found:
            if kind not in list(Drift):
                raise ValueError(f'{kind!r} is no kind of drift; they are: {", ".join(Drift)}')
        return found


class _Actions(_ByKind):
    """Actions by kind; some can be nothing but reported."""

    def __call__(self, value: Any) -> Any:
        """Read a value.

        :returns: actions by kind.
        """
        found = super().__call__(value)
        if found.get(Drift.OLD_DATABASE, Action.REPORT) != Action.REPORT:
            raise ValueError(f'{Drift.OLD_DATABASE} is reported, and a person accepts the database')
        return found


OPTS = [
    cfg.FloatOpt(
        'interval',
        default=60.0,
        min=0.0,
        help='Seconds between two rounds in which volume workers and host agents compare what is '
        'recorded with what is there; 0 for none but those of "doctor".',
    ),
    cfg.Opt(
        'actions',
        type=_Actions(types.String(choices=[str(action) for action in Action])),
        default={},
        help='What is done about kinds of drift where the table of the documentation says something '
        'else: kind:repair, kind:report or kind:ignore, with commas between them.',
    ),
    cfg.Opt(
        'graces',
        type=_ByKind(types.Float(min=0.0)),
        default={},
        help='Seconds that kinds of drift must last before they are repaired, where the table says '
        'something else: kind:seconds, with commas between them.',
    ),
    cfg.FloatOpt(
        'reservation_age',
        default=86400.0,
        min=0.0,
        help='Seconds that a reservation may wait for its host before it is drift; 0 for ever.',
    ),
    cfg.FloatOpt(
        'stuck_after', default=600.0, min=1.0, help='Seconds that a step in flight may stand still before it is drift.'
    ),
    cfg.IntOpt(
        'nova_servers',
        default=100,
        min=0,
        help="Servers of Nova's that a volume worker asks for in one round, with the account in "
        '[nova]; 0 to ask for none.',
    ),
    cfg.IntOpt(
        'most_at_once',
        default=10,
        min=0,
        deprecated_name='most_gone',
        help='Repairs that take something away (logins, targets, attachments, disks) which a worker '
        'or agent makes by itself at once, or within window. If there are more, they wait for a '
        'person; 0 if all of them are to wait.',
    ),
    cfg.IntOpt(
        'most_percent',
        default=20,
        min=0,
        max=100,
        help='The same as a part of what the backend or host has, if that is less; '
        f'{FEW} are allowed on the smallest one. 100 if only most_at_once is to count.',
    ),
    cfg.FloatOpt(
        'window',
        default=3600.0,
        min=0.0,
        help='Seconds for which a repair that took something away counts against these limits.',
    ),
]
