# SPDX-License-Identifier: Apache-2.0
"""The smallest part of a failing history that still fails.

It is cut at the first answer that nothing explains: calls that began later are dropped, and those that
had not ended are left open. Then calls are dropped, first all of an attachment, then one by one, as long
as that answer, and only with it the rest, stays unexplained.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

from tests.histories.calls import Event, Kind
from tests.histories.checker import History, check
from tests.histories.model import Model

_LOOKS = (Kind.SHOW, Kind.SHOW_ATTACHMENT, Kind.LIST, Kind.OBSERVE)


def forget(event: Event) -> Event | None:
    """Forget an answer; of what only looked nothing is left."""
    if event.call.kind in _LOOKS:
        return None
    return dataclasses.replace(event, end=math.inf, reply=None, partial=False)


def cut(history: History, moment: float) -> History:
    """Keep what was known at a moment.

    Rows whose makers are cut are no longer asked for: nobody need have made them.
    """
    events = []
    for event in history.events:
        if event.start > moment:
            continue
        left = event if event.end <= moment else forget(event)
        if left is not None:
            events.append(left)
    return dataclasses.replace(history, events=events)


def _fails(model: Model, history: History) -> bool | None:
    """Tell whether a history is not linearizable; None if nobody knows in time."""
    verdict = check(model, history, limit=20_000, patience=3.0, unexplained=False)
    return None if verdict.gave_up else not verdict.ok


def shrink(
    model: Model, history: History, tell: Callable[[str], None] = lambda _text: None, seconds: float = 60.0
) -> History:
    """Make a failing history small.

    :param model: the specification.
    :param history: a history that is not linearizable.
    :param tell: hears of progress.
    :param seconds: how long it may take, about.
    :returns: a part of it that is not linearizable either, though it would be without one answer; the
        history itself if only rows without a maker make it fail.
    """
    if not _fails(model, history):
        return history
    moments = sorted(event.end for event in history.events if not math.isinf(event.end))
    low, high = 0, len(moments) - 1
    while low < high:
        middle = (low + high) // 2
        if _fails(model, cut(history, moments[middle])):
            high = middle
        else:
            low = middle + 1
    short = cut(history, moments[low])
    tell(f'{len(short.events)} of {len(history.events)} calls until it fails')
    culprit = next(event for event in short.events if event.end == moments[low])
    small = _Shrinking(model, short, culprit, time.monotonic() + seconds).run()
    tell(f'{len(small.events)} calls are enough')
    return small


class _Shrinking:
    """Drops calls while one answer stays what nothing explains."""

    def __init__(self, model: Model, history: History, culprit: Event, deadline: float) -> None:
        self._model = model
        self._history = history
        self._culprit = culprit
        self._deadline = deadline
        self._fixed: list[Event] = []

    def run(self) -> History:
        matters = self._find_ids()
        self._fixed = [
            event
            for event in self._history.events
            if event is not self._culprit
            and event.call.kind not in _LOOKS
            and matters & _ids_of(event)
            and (event.reply is None or event.reply.code < 400)
        ]
        events = [event for event in self._history.events if event is not self._culprit and event not in self._fixed]
        groups = _group(events)
        size = len(groups)
        while size >= 1:
            index = 0
            while index < len(groups) and time.monotonic() < self._deadline:
                left = groups[:index] + groups[index + size :]
                if self._is_bad(left):
                    groups = left
                else:
                    index += size
            if size == 1 and groups and isinstance(groups[0], tuple) and len(groups) < len(events):
                single = [(event,) for group in groups for event in group]
                if len(single) == len(groups):
                    break
                groups = single
                continue
            size //= 2
        return dataclasses.replace(self._history, events=self._flatten(groups, self._culprit))

    def _find_ids(self) -> set[str]:
        """Attachments that the answer is about, or that are there when it fails: their past stays."""
        state = check(self._model, self._history, limit=20_000, unexplained=False).state
        return _ids_of(self._culprit) | ({one.id for one in state.held} if state is not None else set())

    def _flatten(self, groups: Sequence[tuple[Event, ...]], last: Event | None) -> list[Event]:
        events = self._fixed + [event for group in groups for event in group]
        events += [last] if last is not None else []
        return sorted(events, key=lambda event: event.start)

    def _is_bad(self, groups: Sequence[tuple[Event, ...]]) -> bool:
        """It fails with the answer, and would not without."""
        asked = forget(self._culprit)
        after = dataclasses.replace(self._history, events=self._flatten(groups, self._culprit))
        before = dataclasses.replace(self._history, events=self._flatten(groups, asked))
        return _fails(self._model, after) is True and _fails(self._model, before) is False


def _ids_of(event: Event) -> set[str]:
    facts = event.reply.facts if event.reply else {}
    return {
        ident
        for ident in (event.call.attachment, facts.get('id'), *facts.get('held', ()), *facts.get('attached', ()))
        if ident
    }


def _group(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """Put the calls about one attachment together: they go together, if they go."""
    groups: dict[object, list[Event]] = {}
    for event in events:
        made = event.reply.facts.get('id') if event.reply else None
        groups.setdefault(event.call.attachment or made or id(event), []).append(event)
    return [tuple(group) for group in groups.values()]


def name_ids(events: Sequence[Event]) -> dict[str, str]:
    """Give short names to attachments and servers."""
    names: dict[str, str] = {}
    for event in events:
        for ident in sorted(_ids_of(event)):
            if ident not in names:
                names[ident] = f'A{sum(1 for name in names.values() if name[0] == "A") + 1}'
        if event.call.server and event.call.server not in names:
            names[event.call.server] = f'S{event.call.server[-2:]}'
    return names


def describe(model: Model, history: History) -> str:
    """Write a failing history for people."""
    events = sorted(history.events, key=lambda event: event.start)
    names = name_ids(events)
    origin = events[0].start if events else 0.0
    verdict = check(model, history, unexplained=False)
    lines = [
        f'volume {events[0].call.volume if events else ""}, at first {history.start.status}, type {history.start.type}'
    ]
    lines += [event.describe(origin, names) for event in events]
    if verdict.ok:
        made = {ident: server for server, idents in history.strays.items() for ident in idents}
        lines.append(f'No call explains who made these rows: {made}')
    else:
        lines.append('Nothing explains, after the longest order that explains the rest:')
        lines += [f'  {event.describe(origin, names)}' for event in verdict.stuck]
        if verdict.state is not None:
            held = ', '.join(f'{names.get(one.id, one.id)} {one.state}' for one in verdict.state.held)
            lines.append(
                f'  the model has then: {verdict.state.status}, {verdict.state.size} GiB, '
                f'{verdict.state.type}; {held or "no attachment"}'
            )
        lines.append(f'  that order: {"; ".join(verdict.order) or "(nothing)"}')
    return '\n'.join(lines)
