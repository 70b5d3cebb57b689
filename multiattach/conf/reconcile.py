# SPDX-License-Identifier: Apache-2.0
"""Options of looking for drift and putting it right."""

from typing import Any

from oslo_config import cfg, types

from multiattach.domain.drift import Action, Drift
from multiattach.domain.findings import FEW, DriftRules

GROUP = 'reconcile'


class _ByKind(types.Dict):
    """Values by kind of drift; another kind, or another value, is refused."""

    def __call__(self, value: Any) -> Any:
        found = super().__call__(value)
        for kind in found:
            if kind not in list(Drift):
                raise ValueError(f'{kind!r} is no kind of drift; they are: {", ".join(Drift)}')
        return found


class _Actions(_ByKind):
    """Actions by kind; some can be nothing but reported."""

    def __call__(self, value: Any) -> Any:
        found = super().__call__(value)
        if found.get(Drift.OLD_DATABASE, Action.REPORT) != Action.REPORT:
            raise ValueError(f'{Drift.OLD_DATABASE} is reported, and a person accepts the database')
        return found


OPTS = [
    cfg.FloatOpt(
        'interval',
        default=60.0,
        min=0.0,
        help='Time in seconds between two rounds in which volume workers and host agents compare the records with '
        'the actual state. 0 disables the rounds; "doctor" still runs them on demand.',
    ),
    cfg.Opt(
        'actions',
        type=_Actions(types.String(choices=[str(action) for action in Action])),
        default={},
        help='Actions for kinds of drift that override those of the table in the documentation, as a '
        'comma-separated list of kind:repair, kind:report or kind:ignore.',
    ),
    cfg.Opt(
        'graces',
        type=_ByKind(types.Float(min=0.0)),
        default={},
        help='Time in seconds that a kind of drift must persist before it is repaired, overriding the table in the '
        'documentation, as a comma-separated list of kind:seconds.',
    ),
    cfg.FloatOpt(
        'reservation_age',
        default=DriftRules.reservation_age,
        min=0.0,
        help='Time in seconds that a reservation may wait for its host before it is reported as drift; 0 means '
        'indefinitely.',
    ),
    cfg.FloatOpt(
        'stuck_after',
        default=DriftRules.stuck_after,
        min=1.0,
        help='Time in seconds without progress after which a step is reported as drift.',
    ),
    cfg.IntOpt(
        'nova_servers',
        default=100,
        min=0,
        help='Maximum number of Nova servers that a volume worker looks up per round, with the credentials in '
        '[nova]; 0 disables the lookup.',
    ),
    cfg.IntOpt(
        'most_at_once',
        default=DriftRules.most,
        min=0,
        deprecated_name='most_gone',
        help='Maximum number of destructive repairs (of logins, targets, attachments or disks) that a worker or '
        'agent makes automatically within "window". If there are more, all of them wait for an operator; with '
        '0, they always do.',
    ),
    cfg.IntOpt(
        'most_percent',
        default=DriftRules.percent,
        min=0,
        max=100,
        help='Maximum share of such repairs, as a percentage of what the backend or host has, if that is less than '
        f'most_at_once. At least {FEW} are always allowed. 100 disables this limit.',
    ),
    cfg.FloatOpt(
        'window',
        default=DriftRules.window,
        min=0.0,
        help='Time in seconds for which a destructive repair counts against these limits.',
    ),
]
