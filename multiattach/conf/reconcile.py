# SPDX-License-Identifier: Apache-2.0
"""Options of looking for drift and putting it right."""

from typing import Any

from oslo_config import cfg, types

from multiattach.domain.drift import Action, Drift

GROUP = 'reconcile'


class _ByKind(types.Dict):
    """Values by kind of drift; another kind, or another value, is refused."""

    def __call__(self, value: Any) -> Any:
        """Read a value.

        :param value: text of the file, or a default.
        :returns: values by kind.
        :raises ValueError: no such kind, or no such value.
        """
        found = super().__call__(value)
        for kind in found:
            if kind not in list(Drift):
                raise ValueError(f'{kind!r} is no kind of drift; they are: {", ".join(Drift)}')
        return found


OPTS = [
    cfg.FloatOpt('interval', default=60.0, min=0.0,
                 help='Seconds between two rounds in which volume workers and host agents compare what is '
                      'recorded with what is there; 0 for none but those of "doctor".'),
    cfg.Opt('actions', type=_ByKind(types.String(choices=[str(action) for action in Action])), default={},
            help='What is done about kinds of drift where the table of the documentation says something '
                 'else: kind:repair, kind:report or kind:ignore, with commas between them.'),
    cfg.Opt('graces', type=_ByKind(types.Float(min=0.0)), default={},
            help='Seconds that kinds of drift must last before they are repaired, where the table says '
                 'something else: kind:seconds, with commas between them.'),
    cfg.FloatOpt('reservation_age', default=86400.0, min=0.0,
                 help='Seconds that a reservation may wait for its host before it is drift; 0 for ever.'),
    cfg.FloatOpt('stuck_after', default=600.0, min=1.0,
                 help='Seconds that a step in flight may stand still before it is drift.'),
    cfg.IntOpt('nova_servers', default=100, min=0,
               help="Servers of Nova's that a volume worker asks for in one round, with the account in "
                    '[nova]; 0 to ask for none.'),
    cfg.IntOpt('most_gone', default=10, min=0,
               help='If Nova misses more servers than this at once, their attachments stay until a person '
                    'says "doctor --fix".'),
]
