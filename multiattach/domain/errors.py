# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, each with the HTTP status that tells it to a client.

One place renders them (``multiattach.api.faults``). None carries a secret.
"""


class MultiattachError(Exception):
    """Base of all errors with a meaning for a caller."""

    code = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        # Not from args: a subclass keeps there what it was made of, so that RPC can make it again.
        return self.message


class InvalidInput(MultiattachError):
    """The request makes no sense (400)."""

    code = 400


class InvalidVolume(InvalidInput):
    """The volume's status or nature does not allow the call (400, contract 3.2)."""


class InvalidSnapshot(InvalidInput):
    """The snapshot's status does not allow the call (400)."""


class InvalidAttachment(InvalidInput):
    """The attachment's state does not allow the call (400)."""


class InvalidConnector(InvalidInput):
    """The connector lacks what the target needs (400, contract 2.2)."""


class NotFound(MultiattachError):
    """No such thing, or none that the caller may see (404)."""

    code = 404


class VolumeNotFound(NotFound):
    def __init__(self, volume_id: str) -> None:
        super().__init__(f'Volume {volume_id} could not be found.')
        self.args = (volume_id,)


class AttachmentNotFound(NotFound):
    def __init__(self, attachment_id: str) -> None:
        super().__init__(f'Volume attachment could not be found with filter: attachment_id = {attachment_id}.')
        self.args = (attachment_id,)


class SnapshotNotFound(NotFound):
    def __init__(self, snapshot_id: str) -> None:
        super().__init__(f'Snapshot {snapshot_id} could not be found.')
        self.args = (snapshot_id,)


class VolumeTypeNotFound(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f'Volume type {name} could not be found.')
        self.args = (name,)


class QosSpecsNotFound(NotFound):
    def __init__(self, qos_id: str) -> None:
        super().__init__(f'No such QoS spec {qos_id}.')
        self.args = (qos_id,)


class ServerNotFound(NotFound):
    """No such server on this service's compute endpoint."""

    def __init__(self, server_id: str) -> None:
        super().__init__(f'Instance {server_id} could not be found.')
        self.args = (server_id,)


class NotAuthorized(MultiattachError):
    """The caller may see it, but may not do this (403)."""

    code = 403


class Conflict(MultiattachError):
    """Another thing stands against the call (409)."""

    code = 409


class PreconditionFailed(MultiattachError):
    """What the client knows of the thing is out of date (412)."""

    code = 412


class InvalidTransition(MultiattachError):
    """A state was not, or no longer, one from which the event leads on (409).

    :param kind: ``attachment``, ``volume`` or ``snapshot``.
    """

    code = 409

    def __init__(self, kind: str, ident: str, event: str) -> None:
        super().__init__(f'The {kind} {ident} is in no state that allows "{event}".')
        self.args = (kind, ident, event)
        self.kind = kind
        self.ident = ident
        self.event = event


class QuotaExceeded(MultiattachError):
    """A quota would be exceeded (413, contract 1.3)."""

    code = 413


class BackendError(MultiattachError):
    """A target or a backend refused for good; what the step did was undone (500)."""

    code = 500


class HostError(MultiattachError):
    """A compute host refused for good (500)."""

    code = 500


class OutcomeUnknown(MultiattachError):
    """No answer in time: the step goes on or not, the row tells (504; safe to repeat)."""

    code = 504


class Unanswered(OutcomeUnknown):
    """Nobody answered at all: a worker that died, or a lost message (504; safe to repeat)."""


class Unavailable(MultiattachError):
    """A part that the call needs is not there now (503)."""

    code = 503


class DatabaseAway(Unavailable):
    """The database takes no connection now (503)."""


class ConfigurationError(MultiattachError):
    """An option is wrong; the message names it and the remedy. Stops the start."""


def changed_meanwhile(attachment_id: str) -> Conflict:
    return Conflict(f'The attachment {attachment_id} was changed by another request meanwhile.')
