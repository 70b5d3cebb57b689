# SPDX-License-Identifier: Apache-2.0
"""Calls to volume workers and host agents. They carry ids; the rows carry the rest.

A call's timeout means "unknown": the step may have been taken. A lost cast is found again by
the owner of the row when it resumes.
"""

import contextlib
import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

import oslo_messaging as messaging
from kombu import exceptions as kombu_exc
from oslo_log import log

from multiattach import request_ids, signals, turns
from multiattach.domain import errors
from multiattach.rpc.broker import ReplyQueue

LOG = log.getLogger(__name__)

VOLUME_TOPIC = 'multiattach-volume'
# Fences only, served by threads of their own: however many exports wait at a worker, a fence begins at once.
FENCE_TOPIC = 'multiattach-fence'
HOST_TOPIC = 'multiattach-host'
# Of one member of a cluster of workers: what the others ask of its gateway.
GATEWAY_TOPIC = 'multiattach-gateway'
# What is served: 1.1 shows what targets have, 1.2 fences, 1.3 looks for drift and shows what hosts have, 1.4
# releases what waits for a person and tells what was found of a volume, 1.5 has gateways ask each other, 1.6 takes
# snapshots and reverts to them, copies images, takes over storage that is there, and moves volumes between backends,
# 1.7 shows and ends SCSI-3 registrations.
# Calls ask for the version that they need and not more, so that workers of the release before keep answering
# during an upgrade.
VERSION = '1.7'
_BASE_VERSION = '1.0'
_SHOW_VERSION = '1.1'
_FENCE_VERSION = '1.2'
_RECONCILE_VERSION = '1.3'
_RELEASE_VERSION = '1.4'
_GATEWAY_VERSION = '1.5'
_SNAPSHOT_VERSION = '1.6'
_MOVE_VERSION = '1.6'
_IMAGE_VERSION = '1.6'
_RESERVATION_VERSION = '1.7'
# oslo.messaging's default is for ever: without a broker each request would take a thread for good.
_RETRIES = 2
_BROKER_AWAY = (kombu_exc.KombuError, kombu_exc.ConnectionError, kombu_exc.ChannelError, OSError)
_TOO_OLD = '{} runs an older release that does not know this call: upgrade and restart it.'


@dataclasses.dataclass(frozen=True)
class ExportOrder:
    """Which attachment a worker is to act on.

    :param host: backend host of the volume, the name of the RPC server.
    :param volume_id: UUID; what the worker locks.
    """

    host: str
    volume_id: str
    attachment_id: str


class _Client:
    def __init__(
        self, transport: messaging.Transport, topic: str, timeout: float, monitor_timeout: int | None = None
    ) -> None:
        self._topic = topic
        self._transport = transport
        self._replies = ReplyQueue(transport, monitor_timeout or timeout)
        self._client = self._make_client(timeout, monitor_timeout)

    def _make_client(self, timeout: float, monitor_timeout: int | None) -> Any:
        target = messaging.Target(topic=self._topic, version=_BASE_VERSION)
        return messaging.get_rpc_client(
            self._transport,
            target,
            timeout=timeout,
            retry=_RETRIES,
            call_monitor_timeout=monitor_timeout if (monitor_timeout or timeout) < timeout else None,
        )

    def within(self, seconds: float) -> Self:
        """Make a client for those who cannot wait long."""
        made = copy.copy(self)
        made._client = self._make_client(seconds, None)
        return made

    def _cast(self, server: str, method: str, request_id: str | None, version: str = _BASE_VERSION, **ids: str) -> None:
        try:
            with self._reported(method):
                self._client.prepare(server=server, version=version).cast(request_ids.make(request_id), method, **ids)
        except messaging.MessageDeliveryFailure as exc:
            # The row is written: its owner finds it with its next look, at the latest.
            LOG.warning('%s was not told of %s: %s', server, method, exc)

    def _call(
        self,
        server: str,
        method: str,
        request_id: str | None,
        version: str = _BASE_VERSION,
        **ids: str | int | list[str] | list[list[str]] | None,
    ) -> Any:
        try:
            with self._reported(method), turns.waiting():
                self._replies.await_ready()
                return self._client.prepare(server=server, version=version).call(
                    request_ids.make(request_id), method, **ids
                )
        except (messaging.MessagingTimeout, messaging.MessageDeliveryFailure) as exc:
            raise errors.Unanswered(
                f'No answer from {server} in time; the request may still be carried out. It is safe to repeat it.'
            ) from exc
        except (messaging.UnsupportedVersion, messaging.NoSuchMethod) as exc:
            raise errors.Unavailable(_TOO_OLD.format(server)) from exc
        except messaging.RemoteError as exc:
            if exc.exc_type in ('UnsupportedVersion', 'NoSuchMethod'):
                raise errors.Unavailable(_TOO_OLD.format(server)) from exc
            raise errors.BackendError(f'{server} failed: {exc.exc_type}.') from exc

    @contextlib.contextmanager
    def _reported(self, method: str) -> Iterator[None]:
        """Report what becomes of an RPC."""
        started, outcome = time.perf_counter(), 'ok'
        try:
            yield
        except (messaging.MessagingTimeout, messaging.MessageDeliveryFailure):
            outcome = 'unknown'
            raise
        except _BROKER_AWAY as exc:
            # oslo.messaging lets them through where it needs one more connection and the broker is away.
            outcome = 'unknown'
            raise messaging.MessageDeliveryFailure(f'{type(exc).__name__}: {exc}') from exc
        except errors.MultiattachError:
            outcome = 'refused'
            raise
        except Exception:
            outcome = 'failed'
            raise
        finally:
            signals.sink.rpc(self._topic, method, outcome, time.perf_counter() - started)


class _Comparing(_Client):
    def reconcile(self, host: str, fix: bool, request_id: str | None) -> dict[str, Any]:
        """Have a worker or an agent look for drift, and put it right if asked to.

        :param host: name of the compute host, or of the backend, ``host@backend``.
        :returns: ``findings``, as :meth:`multiattach.domain.findings.Finding.write` writes them, and
            ``unread``: why an account could not be read, by its name.
        :raises OutcomeUnknown: no answer in time; it may go on.
        :raises Unavailable: it is of an older release, or fails.
        """
        found: dict[str, Any] = self._call(host, 'reconcile', request_id, _RECONCILE_VERSION, fix=fix)
        return found

    def release(self, host: str, seals: Sequence[str], request_id: str | None) -> dict[str, Any]:
        """Do as :meth:`reconcile`, and let through the breaker what a person names by seals, of there or elsewhere."""
        found: dict[str, Any] = self._call(host, 'release', request_id, _RELEASE_VERSION, seals=list(seals))
        return found


class FenceWorkers(_Client):
    """The threads of volume workers that do nothing but fence; workers of the release before have none.

    :param monitor_timeout: seconds to wait for a sign of life of the worker that was called.
    """

    def __init__(
        self,
        transport: messaging.Transport,
        timeout: float,
        monitor_timeout: int | None = None,
        *,
        topic: str = FENCE_TOPIC,
    ) -> None:
        super().__init__(transport, topic, timeout, monitor_timeout)

    def fence(self, order: ExportOrder, request_id: str | None) -> dict[str, Any]:
        """Have the initiator of an attachment in ``fencing`` cut off, and seen to be.

        :returns: the proof, as :func:`multiattach.volume.fencing.describe` writes it.
        :raises OutcomeUnknown: no answer; the row tells later.
        :raises MultiattachError: the worker could not; it tries again by itself.
        """
        proof: dict[str, Any] = self._call(
            order.host,
            'fence',
            request_id,
            _FENCE_VERSION,
            volume_id=order.volume_id,
            attachment_id=order.attachment_id,
        )
        return proof

    def fence_many(self, orders: Sequence[ExportOrder], request_id: str | None) -> dict[str, dict[str, Any]]:
        """Do the same for many attachments of one backend.

        :param orders: the attachments; all have one backend.
        :returns: by attachment a proof, or ``error``: why there is none yet.
        :raises OutcomeUnknown: no answer; the rows tell later.
        :raises Unavailable: the worker is of an older release.
        """
        answers: dict[str, dict[str, Any]] = self._call(
            orders[0].host,
            'fence_many',
            request_id,
            _FENCE_VERSION,
            orders=[[one.volume_id, one.attachment_id] for one in orders],
        )
        return answers


class VolumeWorkers(FenceWorkers, _Comparing):
    """The workers that make and export volumes; each serves one backend host."""

    def __init__(self, transport: messaging.Transport, timeout: float, monitor_timeout: int | None = None) -> None:
        super().__init__(transport, timeout, monitor_timeout, topic=VOLUME_TOPIC)
        self.fencing = FenceWorkers(transport, timeout, monitor_timeout)

    def create_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask for the storage of a volume in ``creating`` (no answer is awaited)."""
        self._cast(host, 'create_volume', request_id, volume_id=volume_id)

    def delete_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to delete the storage of a volume in ``deleting`` (no answer is awaited)."""
        self._cast(host, 'delete_volume', request_id, volume_id=volume_id)

    def extend_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to extend a volume in ``extending`` to its ``new_size`` (no answer is awaited)."""
        self._cast(host, 'extend_volume', request_id, volume_id=volume_id)

    def create_snapshot(self, host: str, snapshot_id: str, request_id: str | None) -> None:
        """Ask to take a snapshot in ``creating`` (no answer is awaited)."""
        self._cast(host, 'create_snapshot', request_id, _SNAPSHOT_VERSION, snapshot_id=snapshot_id)

    def delete_snapshot(self, host: str, snapshot_id: str, request_id: str | None) -> None:
        """Ask to delete a snapshot in ``deleting`` (no answer is awaited)."""
        self._cast(host, 'delete_snapshot', request_id, _SNAPSHOT_VERSION, snapshot_id=snapshot_id)

    def revert_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to revert a volume in ``reverting`` to its snapshot in ``restoring`` (no answer is awaited)."""
        self._cast(host, 'revert_volume', request_id, _SNAPSHOT_VERSION, volume_id=volume_id)

    def copy_image(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to copy an image to, or from, a volume in ``downloading`` or ``uploading`` (no answer is awaited)."""
        self._cast(host, 'copy_image', request_id, _IMAGE_VERSION, volume_id=volume_id)

    def export(self, order: ExportOrder, request_id: str | None) -> None:
        """Have the initiator of an attachment in ``exporting`` admitted.

        :raises OutcomeUnknown: no answer; the row tells later.
        :raises MultiattachError: the worker refused and undid its step.
        """
        self._call(order.host, 'export', request_id, volume_id=order.volume_id, attachment_id=order.attachment_id)

    def unexport(self, order: ExportOrder, request_id: str | None) -> bool:
        """Have the initiator of an attachment in ``unexporting`` turned away.

        :returns: True if the worker says that the volume had no other attachment.
        :raises OutcomeUnknown: no answer; the row tells later.
        :raises MultiattachError: the worker could not.
        """
        said = self._call(
            order.host, 'unexport', request_id, volume_id=order.volume_id, attachment_id=order.attachment_id
        )
        return said is True

    def show_target(self, host: str, volume_id: str, request_id: str | None) -> dict[str, Any] | None:
        """Ask what a volume's target really has; None without a target.

        :returns: as :func:`multiattach.volume.inspection.describe` writes it.
        :raises OutcomeUnknown: no answer in time.
        :raises Unavailable: the worker is of an older release, or its target daemon does not answer.
        """
        shown: dict[str, Any] | None = self._call(host, 'show_target', request_id, _SHOW_VERSION, volume_id=volume_id)
        return shown

    def list_targets(self, host: str, marker: str | None, limit: int, request_id: str | None) -> list[dict[str, Any]]:
        """Ask as :meth:`show_target` for the targets of volumes after the id *marker*, in their order."""
        shown: list[dict[str, Any]] = self._call(
            host, 'list_targets', request_id, _SHOW_VERSION, marker=marker, limit=limit
        )
        return shown

    def show_reservations(self, host: str, volume_id: str, request_id: str | None) -> dict[str, Any]:
        """Ask who is registered at a volume, as :func:`multiattach.volume.reservations.describe` writes it.

        :raises OutcomeUnknown: no answer in time.
        :raises Conflict: the volume's target keeps no reservations.
        :raises Unavailable: the worker is of an older release, or its target daemon does not answer.
        """
        found: dict[str, Any] = self._call(
            host, 'show_reservations', request_id, _RESERVATION_VERSION, volume_id=volume_id
        )
        return found

    def clear_reservations(
        self, host: str, volume_id: str, initiators: list[str] | None, request_id: str | None
    ) -> dict[str, Any]:
        """Have the registrations of initiators ended, all for None; the same of what is left, and raises.

        :raises BackendError: the target refused, or shows afterwards what was to be ended.
        """
        left: dict[str, Any] = self._call(
            host, 'clear_reservations', request_id, _RESERVATION_VERSION, volume_id=volume_id, initiators=initiators
        )
        return left

    def list_manageable(self, host: str, request_id: str | None) -> list[dict[str, Any]]:
        """Ask what a backend's storage has: ``name``, ``size`` in bytes, ``obstacle`` and ``volume_id`` of each.

        :raises OutcomeUnknown: no answer in time.
        :raises Unavailable: the worker is of an older release.
        """
        found: list[dict[str, Any]] = self._call(host, 'list_manageable', request_id, _MOVE_VERSION)
        return found

    def find_manageable(self, host: str, name: str, request_id: str | None) -> dict[str, Any]:
        """Ask the same of one name.

        :raises InvalidInput: it is no name of anything that could be a volume.
        """
        found: dict[str, Any] = self._call(host, 'find_manageable', request_id, _MOVE_VERSION, name=name)
        return found

    def list_manageable_snapshots(self, host: str, request_id: str | None) -> list[dict[str, Any]]:
        """Ask what snapshots a storage has: ``name``, ``size`` in bytes, ``obstacle``, ``snapshot_id`` and ``origin``.

        :raises OutcomeUnknown: no answer in time.
        :raises Unavailable: the worker is of an older release.
        """
        found: list[dict[str, Any]] = self._call(host, 'list_manageable_snapshots', request_id, _MOVE_VERSION)
        return found

    def find_manageable_snapshot(self, host: str, volume_id: str, name: str, request_id: str | None) -> dict[str, Any]:
        """Ask the same of one that may become a volume's.

        :raises InvalidInput: the volume has none of that name.
        """
        found: dict[str, Any] = self._call(
            host, 'find_manageable_snapshot', request_id, _MOVE_VERSION, volume_id=volume_id, name=name
        )
        return found

    def migrate_volume(self, host: str, migration_id: str, request_id: str | None) -> None:
        """Ask for the next step of a migration (no answer is awaited).

        :param host: name of its destination, or of its source once the volume has left that.
        """
        self._cast(host, 'migrate_volume', request_id, _MOVE_VERSION, migration_id=migration_id)

    def manage_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to take storage over for a volume in ``managing`` (no answer is awaited)."""
        self._cast(host, 'manage_volume', request_id, _MOVE_VERSION, volume_id=volume_id)

    def unmanage_volume(self, host: str, volume_id: str, request_id: str | None) -> None:
        """Ask to leave the storage of a volume in ``unmanaging`` to others (no answer is awaited)."""
        self._cast(host, 'unmanage_volume', request_id, _MOVE_VERSION, volume_id=volume_id)

    def list_findings(self, host: str, volume_id: str, request_id: str | None) -> list[dict[str, Any]]:
        """Ask what a worker's last look found of a volume, as ``Finding.write`` writes it.

        :raises OutcomeUnknown: no answer in time.
        :raises Unavailable: the worker is of an older release.
        """
        found: list[dict[str, Any]] = self._call(
            host, 'list_findings', request_id, _RELEASE_VERSION, volume_id=volume_id
        )
        return found


class GatewayPeers(_Client):
    """The gateways of the other members of a cluster; each is named ``host@backend``.

    All of them raise OutcomeUnknown without an answer, and what the gateway's worker raised.
    """

    def __init__(self, transport: messaging.Transport, timeout: float) -> None:
        super().__init__(transport, GATEWAY_TOPIC, timeout)

    def _order(self, name: str, method: str, **words: str | bool) -> Any:
        return self._call(name, method, None, _GATEWAY_VERSION, **words)

    def admit(self, name: str, volume_id: str, initiator: str) -> None:
        self._order(name, 'admit', volume_id=volume_id, initiator=initiator)

    def revoke(self, name: str, volume_id: str, initiator: str, alone: bool) -> None:
        self._order(name, 'revoke', volume_id=volume_id, initiator=initiator, alone=alone)

    def fence(self, name: str, volume_id: str, initiator: str, alone: bool, again: bool) -> dict[str, Any]:
        """:returns: what was cut, as :func:`multiattach.volume.own_gateway.write_cut` writes it."""
        cut: dict[str, Any] = self._order(
            name, 'fence', volume_id=volume_id, initiator=initiator, alone=alone, again=again
        )
        return cut

    def extend(self, name: str, volume_id: str) -> None:
        self._order(name, 'extend', volume_id=volume_id)

    def remove(self, name: str, volume_id: str) -> None:
        self._order(name, 'remove', volume_id=volume_id)

    def check(self, name: str) -> None:
        """See that a gateway's target answers its worker."""
        self._order(name, 'check')


class HostAgents(_Comparing):
    """The agents on compute hosts."""

    def __init__(self, transport: messaging.Transport, timeout: float) -> None:
        super().__init__(transport, HOST_TOPIC, timeout)

    def attach(self, host: str, attachment_id: str, request_id: str | None) -> None:
        """Have a reserved attachment of this agent attached (no answer is awaited)."""
        self._cast(host, 'attach', request_id, attachment_id=attachment_id)

    def extend(self, host: str, request_id: str | None) -> None:
        """Have the agent show its servers what has grown (no answer is awaited)."""
        self._cast(host, 'extend', request_id)

    def sweep(self, host: str, request_id: str | None) -> None:
        """Have the agent let go of what was fenced (no answer is awaited)."""
        self._cast(host, 'sweep', request_id)

    def detach(self, host: str, attachment_id: str, request_id: str | None) -> None:
        """Have an attachment in ``detaching`` detached (no answer is awaited).

        :param host: name of the host, with ``@backend`` for a backend.
        """
        self._cast(host, 'detach', request_id, attachment_id=attachment_id)

    def show_host(self, host: str, request_id: str | None) -> dict[str, Any]:
        """Ask what a host really has.

        :returns: as :meth:`multiattach.host.reconciler.HostReconciler.show` writes it.
        :raises OutcomeUnknown: no answer in time.
        :raises Unavailable: the agent is of an older release, or its hypervisor does not answer.
        """
        shown: dict[str, Any] = self._call(host, 'show_host', request_id, _RECONCILE_VERSION)
        return shown
