# SPDX-License-Identifier: Apache-2.0
"""Is a history of one volume linearizable? The search of Wing and Gong with Lowe's memory.

A configuration is how far each call has come and the state of the model. A step of a call may be taken
while no other call has ended before it began that is not through. Calls without an answer may take their
steps at any time, or never. What changes nothing is taken at once: it keeps nobody from anything.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach.domain import states
from tests.histories.calls import Event, Kind
from tests.histories.model import START, Model, State, Step

DONE = 'done'
_CREATORS = (Kind.CREATE,)
_LOOKS = (Kind.SHOW, Kind.SHOW_ATTACHMENT, Kind.LIST, Kind.OBSERVE)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the search found.

    :param ok: whether there is an order that explains all answers.
    :param gave_up: whether it ended before it knew.
    :param nodes: configurations that were looked at.
    :param seconds: how long it took.
    :param order: of a good history, the calls in the order of their steps; of a bad one the longest.
    :param stuck: answers that nothing explains after that order.
    :param state: where the model stood then.
    """

    ok: bool
    gave_up: bool
    nodes: int
    seconds: float
    order: tuple[str, ...] = ()
    stuck: tuple[Event, ...] = ()
    state: State | None = None


@dataclasses.dataclass(frozen=True)
class History:
    """What happened to one volume.

    :param start: the volume when it began.
    :param events: what clients saw.
    :param strays: ids of attachments that no answer told of, by server: rows that calls without an
        answer have made.
    :param timelines: the states that each attachment's own row has recorded, in order; an order of calls
        that gives others is no explanation.
    """

    start: State
    events: Sequence[Event]
    strays: Mapping[str | None, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    timelines: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


class _Node:
    """A configuration on the way."""

    __slots__ = ('came', 'move', 'moves', 'phases', 'state')

    def __init__(self, phases: tuple[Any, ...], state: State, came: '_Node | None', move: str | None) -> None:
        self.phases = phases
        self.state = state
        self.came = came
        self.move = move
        self.moves: list[_Node] | None = None


class Search:
    """One search.

    :param model: the specification.
    :param history: what is to be explained.
    :param limit: most configurations to look at.
    :param patience: most seconds.
    :param unexplained: whether rows that no call has made are a failure.
    """

    def __init__(
        self, model: Model, history: History, *, limit: int = 400_000, patience: float = 60.0, unexplained: bool = True
    ) -> None:
        self._model = model
        self._history = history
        self._events = sorted(
            (event for event in history.events if event.reply or event.call.kind not in _LOOKS),
            key=lambda event: event.start,
        )
        self._limit = limit
        self._patience = patience
        self._unexplained = unexplained

    def run(self) -> Verdict:
        """Search.

        :returns: the verdict.
        """
        began = time.monotonic()
        root = _Node(tuple(START for _ in self._events), self._history.start, None, None)
        self._settle(root)
        seen = {(root.phases, root.state)}
        stack, best = [root], root
        while stack:
            node = stack[-1]
            if node.moves is None:
                if self._is_over(node):
                    return self._tell(node, True, len(seen), began)
                if self._count(node) > self._count(best):
                    best = node
                if len(seen) > self._limit or time.monotonic() - began > self._patience:
                    return self._tell(best, False, len(seen), began, gave_up=True)
                node.moves = self._expand(node)
                node.moves.reverse()
            if not node.moves:
                stack.pop()
                continue
            following = node.moves.pop()
            key = (following.phases, following.state)
            if key not in seen:
                seen.add(key)
                stack.append(following)
        return self._tell(best, False, len(seen), began)

    # -- configurations ------------------------------------------------------------------------

    def _is_open(self, index: int) -> bool:
        return math.isinf(self._events[index].end)

    def _is_done(self, phase: Any) -> bool:
        return isinstance(phase, tuple) and phase[0] == DONE

    def _is_over(self, node: _Node) -> bool:
        if not all(self._is_done(phase) or self._is_open(index) for index, phase in enumerate(node.phases)):
            return False
        if not self._unexplained:
            return True
        wanted = {ident for idents in self._history.strays.values() for ident in idents}
        return wanted <= self._taken(node.phases)

    def _count(self, node: _Node) -> int:
        return sum(1 for phase in node.phases if self._is_done(phase))

    def _taken(self, phases: tuple[Any, ...]) -> set[str]:
        """Ids that reservations got."""
        return {
            ident
            for event, phase in zip(self._events, phases, strict=True)
            if event.call.kind in _CREATORS and phase != START
            for ident in phase[1:2]
        }

    def _enabled(self, phases: tuple[Any, ...]) -> list[int]:
        horizon = min(
            (event.end for event, phase in zip(self._events, phases, strict=True) if not self._is_done(phase)),
            default=math.inf,
        )
        return [
            index
            for index, phase in enumerate(phases)
            if not self._is_done(phase) and self._events[index].start <= horizon
        ]

    def _settle(self, node: _Node) -> None:
        """Take all steps that change nothing and have no rival."""
        going = True
        while going:
            going = False
            for index in self._enabled(node.phases):
                for one in self._steps(node, index):
                    if one.final and one.state == node.state and self._explains(index, one):
                        self._advance(node, index, one)
                        going = True
                        break

    def _advance(self, node: _Node, index: int, one: Step) -> None:
        node.phases = self._after(node.phases, index, one)
        node.move = f'{node.move or ""}\n{self._name(index)}'.strip()

    def _after(self, phases: tuple[Any, ...], index: int, one: Step) -> tuple[Any, ...]:
        phase = one.phase if one.reply is None else (DONE, one.phase)
        return (*phases[:index], phase, *phases[index + 1 :])

    def _expand(self, node: _Node) -> list[_Node]:
        found = []
        for index in sorted(self._enabled(node.phases), key=lambda i: self._events[i].end):
            for one in self._steps(node, index):
                if self._explains(index, one) and self._is_recorded(node.state, one.state):
                    found.append(_Node(self._after(node.phases, index, one), one.state, node, self._name(index)))
        for state in self._model.drift(node.state):
            if self._is_recorded(node.state, state):
                found.append(_Node(node.phases, state, node, '(worker)'))
        # "It failed on the way": the steps are over, at whichever.
        for index in self._enabled(node.phases):
            if self._events[index].partial:
                phase = node.phases[index]
                ident = phase[1] if isinstance(phase, tuple) else None
                found.append(
                    _Node(
                        (*node.phases[:index], (DONE, ident), *node.phases[index + 1 :]),
                        node.state,
                        node,
                        f'{self._name(index)} ends',
                    )
                )
        for one in found:
            self._settle(one)
        return found

    def _steps(self, node: _Node, index: int) -> list[Step]:
        event, phase = self._events[index], node.phases[index]
        idents: tuple[str, ...] = ()
        if event.call.kind in _CREATORS and phase == START:
            idents = self._idents(event, node)
        return list(self._model.step(node.state, event.call, phase, idents))

    def _idents(self, event: Event, node: _Node) -> tuple[str, ...]:
        if (told := _told(event)) or (event.reply is not None and event.request is not None):
            return told  # a row names the request that made it
        taken = self._taken(node.phases)
        left = [ident for ident in self._history.strays.get(event.call.server, ()) if ident not in taken]
        return tuple(left)

    def _explains(self, index: int, one: Step) -> bool:
        """Tell whether an outcome goes with what the client was told."""
        event = self._events[index]
        if event.reply is None:  # only the effect counts
            return not one.final
        if one.reply is None:
            if event.call.kind is Kind.SHOW:
                facts = event.reply.facts
                return event.reply.code == 200 and one.phase == (facts['status'], facts['type'], facts['size'])
            return True
        if event.partial:
            return one.reply.code == event.reply.code
        return one.reply == event.reply

    def _is_recorded(self, before: State, after: State) -> bool:
        """Tell whether rows have recorded what a step does to them."""
        lines = self._history.timelines
        if not lines or before.held is after.held:
            return True
        for one in after.held:
            line = lines.get(one.id)
            if line is not None and (one.moves >= len(line) or line[one.moves] != one.state):
                return False
        left = {one.id for one in after.held}
        for one in before.held:
            line = lines.get(one.id)
            # The last of a row is its removal; with its volume it goes without a word.
            rest = 2 if after.status == before.status or after.status in states.DERIVED_STATUSES else 1
            if line is not None and one.id not in left and one.moves + rest != len(line):
                return False
        return True

    def _name(self, index: int) -> str:
        event = self._events[index]
        return f'client {event.client} #{event.number} {event.call.kind}'

    def _tell(self, node: _Node, ok: bool, nodes: int, began: float, gave_up: bool = False) -> Verdict:
        order: list[str] = []
        at: _Node | None = node
        while at is not None:
            order[:0] = (at.move or '').splitlines()
            at = at.came
        stuck = (
            tuple(self._events[index] for index in self._enabled(node.phases) if not self._is_open(index))
            if not ok
            else ()
        )
        return Verdict(ok, gave_up, nodes, time.monotonic() - began, tuple(order), stuck, node.state)


def _told(event: Event) -> tuple[str, ...]:
    if event.call.kind not in _CREATORS or event.reply is None:
        return ()
    ident = event.reply.facts.get('id') or event.made
    return (ident,) if ident else ()


def check(model: Model, history: History, **limits: Any) -> Verdict:
    """Decide whether a history is linearizable.

    :param model: the specification.
    :param history: what clients saw of one volume.
    :param limits: as for :class:`Search`.
    :returns: the verdict.
    """
    return Search(model, history, **limits).run()
