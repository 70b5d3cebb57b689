# SPDX-License-Identifier: Apache-2.0
"""Pictures of the parts, of the layers, and of one attach.

What can be read from the code is: layers are its imports, the way of an attach is rows of the table of events, and a
program that is not installed cannot be drawn. A build fails where a picture and the code disagree.
"""

import ast
import configparser
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import generated

from multiattach.domain import states

_TOP = pathlib.Path(__file__).resolve().parents[2]
_PACKAGE = _TOP / 'multiattach'
_BREAK = '\\n'  # a line break of DOT
# They put all the others together, or stand beside them.
_APART = {'cmd', 'wsgi', 'domain', 'metrics'}
FILL = {
    states.Owner.USER: '#fff3cd',
    states.Owner.VOLUME: '#cfe2ff',
    states.Owner.HOST: '#d1e7dd',
    states.Owner.NOBODY: '#f1f1f1',
}


def draw(statements: Iterable[str], alt: str, *, left_to_right: bool = False) -> str:
    """Return a picture as reStructuredText.

    :param statements: of the DOT language.
    :param alt: what a reader who sees no pictures is told.
    """
    lines = [
        'digraph picture {',
        f'    rankdir={"LR" if left_to_right else "TB"};',
        '    graph [fontname="sans-serif", fontsize=12, nodesep=0.35, ranksep=0.45]',
        '    node [shape=box, style="rounded,filled", fillcolor="#f1f1f1", fontname="sans-serif", fontsize=11]',
        '    edge [fontname="sans-serif", fontsize=10]',
        *(f'    {line}' for line in statements),
        '}',
    ]
    return '\n'.join([f'.. graphviz::\n   :alt: {alt}\n', *(f'   {line}' for line in lines), ''])


# The parts -----------------------------------------------------------------------------------------------------------

# Program → what it does. Those that are not drawn are commands, or all of these in one process.
PROGRAMS = {
    'multiattach-api': 'REST API, policy, decisions',
    'multiattach-volume': 'worker of one backend',
    'multiattach-host': 'agent of one compute host',
}
_OTHERS = {
    'clients': 'Nova, openstack, SDKs',
    'database': 'SQLite, MariaDB, PostgreSQL',
    'storage': 'files, LVM',
    'tgtd': 'iSCSI target',
    'initiator': "host's kernel, or QEMU",
    'libvirt': 'servers',
}
_ARROWS = (
    ('clients', 'multiattach-api', '/v3, /compute/v2.1'),
    ('multiattach-api', 'database', 'SQL'),
    ('multiattach-api', 'multiattach-volume', 'RPC: ids only'),
    ('multiattach-api', 'multiattach-host', 'RPC: ids only'),
    ('multiattach-volume', 'database', 'SQL'),
    ('multiattach-host', 'database', 'SQL'),
    ('multiattach-volume', 'storage', 'create, extend, delete'),
    ('multiattach-volume', 'tgtd', 'management socket'),
    ('multiattach-host', 'initiator', 'os-brick'),
    ('multiattach-host', 'libvirt', 'attachDevice'),
    ('initiator', 'tgtd', 'iSCSI, CHAP'),
)


def render_parts() -> str:
    """Return the picture of the programs and of what they speak to."""
    setup_cfg = configparser.ConfigParser()
    setup_cfg.read(_TOP / 'setup.cfg')
    installed = {line.split()[0] for line in setup_cfg['entry_points']['console_scripts'].split('\n') if line.strip()}
    if missing := set(PROGRAMS) - installed:
        raise ValueError(f'the picture of the parts has programs that setup.cfg lacks: {missing}')
    nodes = [f'"{name}" [label="{name}{_BREAK}{what}", fillcolor="#cfe2ff"]' for name, what in PROGRAMS.items()]
    nodes += [f'"{name}" [label="{name}{_BREAK}{what}"]' for name, what in _OTHERS.items()]
    edges = [f'"{source}" -> "{target}" [label="{label}"]' for source, target, label in _ARROWS]
    told = '; '.join(f'{source} to {target} by {label}' for source, target, label in _ARROWS)
    return draw([*nodes, *edges], f'Programs and what they speak to: {told}')


# The layers ----------------------------------------------------------------------------------------------------------


def read_imports() -> dict[str, set[str]]:
    """Return for each package which other packages its modules import."""
    found: dict[str, set[str]] = {
        path.name: set() for path in _PACKAGE.iterdir() if (path / '__init__.py').exists() and path.name not in _APART
    }
    for name, needs in found.items():
        for path in (_PACKAGE / name).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [f'{node.module}.{alias.name}' for alias in node.names]
                needs.update(word.split('.')[1] for word in names if word.startswith('multiattach.'))
        needs &= found.keys() - {name}
    return found


def _reach(needs: dict[str, set[str]], name: str, seen: set[str]) -> set[str]:
    for other in needs[name] - seen:
        seen.add(other)
        _reach(needs, other, seen)
    return seen


def reduce(needs: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out each arrow that a longer way makes needless.

    :raises ValueError: two packages need each other.
    """
    reached = {name: _reach(needs, name, set()) for name in needs}
    if circles := [name for name, found in reached.items() if name in found]:
        raise ValueError(f'the picture of the layers has a circle: {circles}')
    return {
        name: {other for other in others if not any(other in reached[between] for between in others)}
        for name, others in needs.items()
    }


def render_layers() -> str:
    """Return the picture of the packages: who imports whom."""
    arrows = [(name, other) for name, others in sorted(reduce(read_imports()).items()) for other in sorted(others)]
    nodes = [f'"{name}"' for name in sorted(read_imports())]
    told = '; '.join(f'{name} needs {other}' for name, other in arrows)
    return draw([*nodes, *(f'"{name}" -> "{other}"' for name, other in arrows)], f'Packages: {told}')


# One attach ----------------------------------------------------------------------------------------------------------


class Move(NamedTuple):
    """One arrow of the way: an event of the table, who moves, and what is done before the next one."""

    event: str
    target: str
    mover: str
    done: str


ATTACH = (
    Move('export', 'exporting', 'PUT /attachments/ID', 'connector recorded'),
    Move('exported', 'exported', 'volume worker', 'initiator admitted on the target'),
    Move('connect', 'connecting', 'host agent', 'login, device, libvirt'),
    Move('complete', 'attached', 'host agent or os-complete', 'server has the disk'),
)
DETACH = (
    Move('detach', 'detaching', 'DELETE /servers/ID/…', 'intent recorded'),
    Move('unexport', 'unexporting', 'host agent or DELETE /attachments/ID', 'device gone from the host'),
    Move('remove', 'detached', 'volume worker', 'initiator turned away; row kept'),
)


def check(start: str, way: Iterable[Move]) -> None:
    """Raise ValueError if the table of events does not lead that way."""
    state = start
    for move in way:
        event = states.ATTACHMENT_EVENTS[move.event]
        if state not in event.sources or event.target != move.target:
            raise ValueError(f'{move.event} does not lead from {state} to {move.target}')
        state = move.target


def render_attach() -> str:
    """Return the picture of one attach and its detach: states, events, and who moves."""
    check('reserved', ATTACH)
    check('attached', DETACH)
    derived = {str(state): str(status) for sources, status in states.DERIVATION for state in sources}
    lines, told = ['"" [shape=plaintext, style="", label="POST /attachments"]', '"" -> "reserved" [label="API"]'], []
    source = 'reserved'
    for move in (*ATTACH, *DETACH):
        label = _BREAK.join((f'{move.event}: {move.mover}', move.done))
        lines.append(f'"{source}" -> "{move.target}" [label="{label}"]')
        told.append(f'{source} to {move.target} by {move.event} ({move.mover})')
        source = move.target
    for state in ('reserved', *(move.target for move in (*ATTACH, *DETACH))):
        owner = states.ATTACHMENT_STATES[states.Attachment(state)].owner
        status = derived.get(state, 'available')
        lines.append(f'"{state}" [label="{state}{_BREAK}volume: {status}", fillcolor="{FILL[owner]}"]')
    return draw(lines, f'One attach: {"; ".join(told)}')


# The state machine ---------------------------------------------------------------------------------------------------

# These lead from nearly every state, and would hide all the rest.
_EVERYWHERE = ('fence', 'abandon')


def render_machine() -> str:
    """Return the picture of an attachment's states: each arrow is an event, each colour an owner."""
    lines = [
        f'"{state}" [fillcolor="{FILL[info.owner]}", tooltip="next step: {info.owner}"]'
        for state, info in states.ATTACHMENT_STATES.items()
    ]
    between: dict[tuple[str, str], list[str]] = {}
    for event in states.ATTACHMENT_EVENTS.values():
        if event.event in _EVERYWHERE:
            lines.append(f'"from {event.event}" [label="{len(event.sources)} states", shape=plaintext, style=""]')
            between[f'from {event.event}', str(event.target)] = [event.event]
        else:
            for source in sorted(event.sources - {str(event.target)}):
                between.setdefault((source, str(event.target)), []).append(event.event)
    lines += [
        f'"{source}" -> "{target}" [label="{_BREAK.join(events)}"]' for (source, target), events in between.items()
    ]
    told = ', '.join(f'{source} to {target} by {" or ".join(events)}' for (source, target), events in between.items())
    return draw(lines, f'States of an attachment: {told}')


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx know the directives."""
    return generated.declare(
        app,
        picture_of_parts=render_parts,
        picture_of_layers=render_layers,
        picture_of_attach=render_attach,
        picture_of_states=render_machine,
    )
