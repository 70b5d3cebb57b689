# SPDX-License-Identifier: Apache-2.0
"""The tables of states, made of :mod:`multiattach.domain.states`."""

from typing import Any

import generated

from multiattach.domain import states


def _events(events: dict[str, states.Transition]) -> str:
    return generated.write_table(
        ('Event', 'From', 'To', 'Meaning'),
        [
            (
                f'``{e.event}``',
                ', '.join(f'``{s}``' for s in sorted(e.sources)),
                f'``{e.target}``' if e.target else 'derived',
                e.doc,
            )
            for e in events.values()
        ],
    )


def render_attachments() -> str:
    """Return the tables of an attachment's states and events as reStructuredText."""
    public = generated.write_table(
        ('State', '``attach_status``', 'Next step is', 'Place', 'Target', 'Host', 'Meaning'),
        [
            (
                f'``{state}``',
                f'``{info.public}``',
                info.owner if info.agent is None else f'{info.owner}, or {info.agent}',
                'yes' if info.takes_place else '',
                'admitted' if info.admitted else 'maybe' if info.on_target else '',
                'maybe' if info.on_host else '',
                info.doc,
            )
            for state, info in states.ATTACHMENT_STATES.items()
        ],
    )
    return f'{public}\n{_events(states.ATTACHMENT_EVENTS)}'


def render_volumes() -> str:
    """Return the tables of a volume's events and of how its status is derived as reStructuredText."""
    statuses = generated.write_table(
        ('Status', 'Next step is', 'Decided by', 'os-reset_status', 'Meaning'),
        [
            (
                f'``{status}``',
                info.owner,
                'attachments' if info.derived else 'the volume',
                'yes' if info.resettable else '',
                info.doc,
            )
            for status, info in states.VOLUME_STATES.items()
        ],
    )
    derivation = generated.write_table(
        ('If an attachment is', 'the volume is'),
        [(' or '.join(f'``{s}``' for s in sorted(sources)), f'``{status}``') for sources, status in states.DERIVATION],
    )
    return f"""{statuses}
{_events(states.VOLUME_EVENTS)}
A status in {', '.join(f'``{s}``' for s in sorted(states.DERIVED_STATUSES))} is derived from the volume's
attachments; the first row that applies wins, so that a sharer in flight never hides one that is attached.
Without any it is ``available``. ``os-begin_detaching`` shows as ``detaching`` until that detach has ended,
whoever else has the volume; what the others may do stays what it is while the volume is ``in-use``.
``os-reserve`` shows as ``attaching`` while there is no attachment.

{derivation}"""


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx know the directives."""
    return generated.declare(app, attachment_states=render_attachments, volume_states=render_volumes)
