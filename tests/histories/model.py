# SPDX-License-Identifier: Apache-2.0
"""The sequential specification of one volume, built on the tables and rules of ``multiattach.domain``.

A call is one or several atomic steps; between them others may take theirs, which is how a create with a
connector works. What workers do by themselves is a step of nobody (:meth:`Model.drift`). States are
immutable and hashable.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from multiattach.domain import errors, sharing, states
from tests.histories.calls import Call, Kind, Reply

A, V = states.Attachment, states.Volume
_ATTACHMENT, _VOLUME = states.ATTACHMENT_EVENTS, states.VOLUME_EVENTS


class Held(NamedTuple):
    """An attachment.

    :param id: UUID.
    :param state: internal state.
    :param server: UUID of the server.
    :param host: host of its connector, None without.
    :param initiator: initiator of its connector, None without.
    :param info: whether it has a connection_info.
    :param moves: how often its state was written since it was reserved.
    """

    id: str
    state: str
    server: str | None
    host: str | None = None
    initiator: str | None = None
    info: bool = False
    moves: int = 0

    @property
    def sharer(self) -> sharing.Sharer:
        """What the sharing rules know of it."""
        return sharing.Sharer(self.id, self.state, self.server, self.host, self.initiator)


class State(NamedTuple):
    """A volume and its attachments.

    :param status: as it is stored.
    :param type: name of its type.
    :param size: GiB.
    :param new_size: what an extension in work will make it, GiB.
    :param held: live attachments in order of their ids.
    """

    status: str
    type: str
    size: int
    new_size: int | None = None
    held: tuple[Held, ...] = ()

    def find(self, ident: str | None) -> Held | None:
        """Find a live attachment."""
        return next((one for one in self.held if one.id == ident), None)


class Type(NamedTuple):
    """A volume type.

    :param multiattach: its volumes may be shared.
    :param cap: most servers of one volume.
    """

    multiattach: bool
    cap: int | None = None


class Step(NamedTuple):
    """What may come of a call's next step.

    :param state: the volume afterwards.
    :param phase: where the call stands then.
    :param reply: the answer if this step ends the call, else None.
    :param final: nothing that changes something gives this answer: given early, it does no harm.
    """

    state: State
    phase: Any
    reply: Reply | None = None
    final: bool = False


START = 'start'


def refuse(state: State, code: int, *, final: bool = True) -> Step:
    """End a call that is refused.

    :param final: no later step of a call that had an effect gives the same answer.
    """
    return Step(state, None, Reply(code), final)


class Model:
    """What may happen.

    :param types: volume types by name.
    :param snapshot: whether a volume and its attachments are read at one moment.
    :param refusals: whether targets and backends may refuse.
    """

    def __init__(self, types: Mapping[str, Type], *, snapshot: bool = False, refusals: bool = False) -> None:
        self._types = types
        self.snapshot = snapshot
        self.refusals = refusals
        self._calls = {
            Kind.CREATE: self._create,
            Kind.UPDATE: self._update,
            Kind.COMPLETE: self._complete,
            Kind.DELETE: self._delete,
            Kind.FENCE: self._fence,
            Kind.RETYPE: self._retype,
            Kind.EXTEND: self._extend,
            Kind.REMOVE: self._remove,
            Kind.SHOW: self._show,
            Kind.SHOW_ATTACHMENT: self._show_attachment,
            Kind.LIST: self._list,
            Kind.OBSERVE: self._observe,
        }

    def step(self, state: State, call: Call, phase: Any, idents: Sequence[str] = ()) -> Iterator[Step]:
        """Tell what the next step of a call may do.

        :param state: the volume.
        :param call: the call.
        :param phase: where it stands, :data:`START` at first.
        :param idents: ids that a new attachment may get.
        :returns: all outcomes; none while the call waits for somebody.
        """
        return self._calls[call.kind](state, call, phase, idents)

    # -- rules ---------------------------------------------------------------------------------

    def facts(self, state: State) -> sharing.VolumeFacts:
        """Describe the volume to the sharing rules."""
        return sharing.VolumeFacts(state.status, self._types[state.type].multiattach)

    def check_reserve(self, state: State, server: str | None) -> None:
        """Decide on one more attachment.

        :raises MultiattachError: it is refused.
        """
        taken = [one for one in state.held if one.state not in states.PLACELESS]
        mine = sum(1 for one in taken if server is not None and one.server == server)
        sharing.check_reserve(self.facts(state), mine, len(taken) - mine)
        if self._types[state.type].multiattach:
            sharing.check_cap(mine, len({one.server or one.id for one in taken}), self._types[state.type].cap)

    # -- attachments ---------------------------------------------------------------------------

    def _create(self, state: State, call: Call, phase: Any, idents: Sequence[str]) -> Iterator[Step]:
        if phase == START:
            yield from self._reserve(state, call, idents)
            return
        where, ident = phase[:2]
        if where == 'cancel':
            found = state.find(ident)
            if found is not None and found.state not in states.ON_TARGET:
                state = derive(move(state, found, 'remove'))
            yield Step(state, ident, Reply(phase[2]))
            return
        for one in self._connect(state, call, where, ident):
            if one.reply is None:
                yield one
            elif one.reply.code == 200:
                yield one._replace(phase=ident)
            else:
                yield Step(one.state, ('cancel', ident, one.reply.code))

    def _reserve(self, state: State, call: Call, idents: Sequence[str]) -> Iterator[Step]:
        if state.status == V.DELETED:
            yield refuse(state, 404, final=call.host is None)
            return
        try:
            self.check_reserve(state, call.server)
        except errors.MultiattachError as exc:
            yield refuse(state, exc.code)
            return
        for ident in idents:
            after = derive(put(state, Held(ident, A.RESERVED, call.server)))
            if call.host is None:
                yield Step(after, ident, Reply(200, {'id': ident, 'status': A.RESERVED, 'info': False}))
            else:
                yield Step(after, ('connect', ident))

    def _update(self, state: State, call: Call, phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        where = 'connect' if phase == START else phase[0]
        yield from self._connect(state, call, where, call.attachment or '')

    def _connect(self, state: State, call: Call, where: str, ident: str) -> Iterator[Step]:
        found = state.find(ident)
        if found is None:
            yield refuse(state, 404, final=where == 'wait')
            if where == 'wait':
                yield refuse(state, 409)
            return
        if where == 'connect':
            yield self._begin_connect(state, call, found)
            return
        admitted = found.state in states.ADMITTED and found.info
        if found.info:
            yield Step(state, None, Reply(200, _shown(found) | {'id': ident}), True)
        if found.state == A.RESERVED and self.refusals:
            yield from (refuse(state, code) for code in (500, 503))  # for good; for want of room
        if found.state != A.EXPORTING and not admitted:
            yield refuse(state, 409)

    def _begin_connect(self, state: State, call: Call, found: Held) -> Step:
        if state.status in (V.DELETING, V.CREATING):
            return refuse(state, 400)
        try:
            sharing.check_connect(
                self.facts(state),
                found.sharer,
                call.host or '',
                call.initiator or '',
                [one.sharer for one in state.held],
            )
        except errors.MultiattachError as exc:
            return refuse(state, exc.code, final=False)
        if found.state in states.ADMITTED and found.info:
            return Step(state, ('wait', found.id))
        if found.state not in _ATTACHMENT['export'].sources:
            return refuse(state, 409, final=False)
        after = move(state, found, 'export', host=call.host, initiator=call.initiator)
        return Step(derive(after), ('wait', found.id))

    def _complete(self, state: State, call: Call, _phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        found = state.find(call.attachment)
        if found is None:
            yield refuse(state, 404)
        elif state.status in (V.DELETING, V.ERROR_DELETING, V.CREATING):
            yield refuse(state, 400)
        elif found.state == A.ATTACHED:
            yield Step(state, None, Reply(204))
        elif found.state not in _ATTACHMENT['complete'].sources:
            yield refuse(state, 400)
        else:
            yield Step(derive(move(state, found, 'complete')), None, Reply(204))

    def _delete(self, state: State, call: Call, phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        found = state.find(call.attachment)
        if phase != START:
            if found is None:
                left = {one.id: states.public_status(one.state) for one in state.held}
                yield Step(state, None, Reply(200, {'held': left}), True)
            elif found.state == A.ERROR_DETACHING:
                yield refuse(state, 500)
            elif found.state != A.UNEXPORTING:
                yield refuse(state, 409)
            return
        if found is None:
            yield refuse(state, 404)
            return
        plain = found.state in (A.RESERVED, A.FENCED) or found.initiator is None
        event = 'remove' if plain else 'unexport'
        if found.state not in _ATTACHMENT[event].sources:
            yield refuse(state, 409, final=False)
        else:
            yield Step(derive(move(state, found, event)), 'wait')

    def _fence(self, state: State, call: Call, phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        found = state.find(call.attachment)
        if found is None:
            yield refuse(state, 404, final=phase != START)
        elif phase != START:
            if found.state == A.FENCED:
                yield Step(state, None, Reply(200, {'fenced': True}), True)
        else:
            mates = [
                one
                for one in state.held
                if found.initiator is not None
                and found.state != A.FENCED
                and one.initiator == found.initiator
                and one.id != found.id
                and one.state in states.ON_TARGET
            ]
            if mates and not call.force:
                yield refuse(state, 409)
                return
            for one in (found, *mates):
                if one.state != A.FENCED:
                    state = move(state, one, 'fence')
            yield Step(derive(state), 'wait')

    # -- volumes -------------------------------------------------------------------------------

    def _retype(self, state: State, call: Call, _phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        if state.status == V.DELETED:
            yield refuse(state, 404)
            return
        wanted = call.type or ''
        changes = self._types[wanted].multiattach != self._types[state.type].multiattach
        taken = any(one.state not in states.PLACELESS for one in state.held)
        allowed = states.SETTLED
        if wanted == state.type or state.status not in allowed or (changes and (state.status != V.AVAILABLE or taken)):
            yield refuse(state, 400)
        else:
            yield Step(state._replace(type=wanted), None, Reply(202))

    def _extend(self, state: State, call: Call, _phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        if state.status == V.DELETED:
            yield refuse(state, 404)
        # "detaching" is a source for volumes with a mark of os-begin_detaching; histories make none.
        elif state.status not in _VOLUME['extend'].sources - {V.DETACHING} or (call.size or 0) <= state.size:
            yield refuse(state, 400)
        else:
            yield Step(state._replace(status=_target('extend'), new_size=call.size), None, Reply(202))

    def _remove(self, state: State, _call: Call, _phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        if state.status == V.DELETED:
            yield refuse(state, 404)
        elif (
            any(one.state not in states.PLACELESS for one in state.held)
            or state.status not in _VOLUME['delete'].sources
        ):
            yield refuse(state, 400)
        else:
            yield Step(state._replace(status=_target('delete'), held=()), None, Reply(202))

    # -- looking -------------------------------------------------------------------------------

    def _show(self, state: State, _call: Call, phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        attached = sorted(one.id for one in state.held if one.state == A.ATTACHED)
        if phase == START:
            if state.status == V.DELETED:
                yield refuse(state, 404)
                return
            phase = (state.status, state.type, state.size)
            if not self.snapshot:
                yield Step(state, phase, None, True)
                return
        status, kind, size = phase
        yield Step(state, None, Reply(200, {'status': status, 'type': kind, 'size': size, 'attached': attached}), True)

    def _show_attachment(self, state: State, call: Call, _phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        found = state.find(call.attachment)
        yield refuse(state, 404) if found is None else Step(state, None, Reply(200, _shown(found)), True)

    def _list(self, state: State, _call: Call, _phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        shown = {one.id: states.public_status(one.state) for one in state.held}
        yield Step(state, None, Reply(200, {'held': shown}), True)

    def _observe(self, state: State, _call: Call, _phase: Any, _idents: Sequence[str]) -> Iterator[Step]:
        yield Step(
            state,
            None,
            Reply(
                200,
                {
                    'status': state.status,
                    'type': state.type,
                    'size': state.size,
                    'held': {one.id: one.state for one in state.held},
                },
            ),
            True,
        )

    # -- what nobody asked for -----------------------------------------------------------------

    def drift(self, state: State) -> Iterator[State]:
        """Tell what workers may do next."""
        for one in state.held:
            yield from self._drift_attachment(state, one)
        if state.status == V.EXTENDING:
            yield derive(state._replace(status=V.AVAILABLE, size=state.new_size or state.size, new_size=None))
            if self.refusals:
                yield state._replace(status=_target('extend_failed'), new_size=None)
        elif state.status == V.DELETING:
            yield state._replace(status=_target('deleted'))
            if self.refusals:
                yield state._replace(status=_target('delete_failed'))

    def _drift_attachment(self, state: State, one: Held) -> Iterator[State]:
        if one.state == A.EXPORTING:
            yield derive(move(state, one, 'exported', info=True))
            if self.refusals:
                yield derive(move(state, one, 'export_failed', host=None, initiator=None, info=False))
        elif one.state == A.UNEXPORTING:
            yield derive(move(state, one, 'remove'))
            if self.refusals:
                yield derive(move(state, one, 'detach_failed'))
        elif one.state == A.FENCING:
            yield derive(move(state, one, 'fenced'))


def _target(event: str) -> str:
    target = _VOLUME[event].target
    assert target is not None
    return target


def _shown(one: Held) -> dict[str, Any]:
    return {'status': states.public_status(one.state), 'info': one.info}


def put(state: State, one: Held) -> State:
    """Add or replace an attachment."""
    rest = tuple(other for other in state.held if other.id != one.id)
    return state._replace(held=tuple(sorted((*rest, one))))


def move(state: State, one: Held, event: str, **values: Any) -> State:
    """Move an attachment by an event of the table; one at its end leaves the volume."""
    row = _ATTACHMENT[event]
    assert one.state in row.sources and row.target is not None, (one, event)  # noqa: PT018
    if row.target == A.DETACHED:
        return state._replace(held=tuple(other for other in state.held if other.id != one.id))
    return put(state, one._replace(state=row.target, moves=one.moves + 1, **values))


def derive(state: State) -> State:
    """Give the volume the status that its attachments give it."""
    if state.status not in states.DERIVED_STATUSES:
        return state
    counts: dict[str, int] = {}
    for one in state.held:
        counts[one.state] = counts.get(one.state, 0) + 1
    return state._replace(status=states.derive_status(counts, None))
