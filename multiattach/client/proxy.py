# SPDX-License-Identifier: Apache-2.0
"""This service's own API as a proxy of openstacksdk.

It is served beside the Block Storage API, so its endpoint is that of ``block-storage`` in the catalogue.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from openstack import connection as sdk_connection, proxy

from multiattach.client import resources


class Proxy(proxy.Proxy):
    """Calls of this service's own API."""

    api_version: ClassVar[str] = '3'

    def explain_attachment(self, attachment_id: str, *, is_live: bool = False) -> resources.AttachmentExplanation:
        """Ask what happened to an attachment and what comes next.

        :param is_live: for admins, what is true now on target, host and domain, too.
        """
        found = resources.AttachmentExplanation.new(
            connection=self._get_connection(), attachment_id=_segment(attachment_id)
        )
        found.fetch(self, requires_id=False, **_live(is_live))
        return found

    def explain_volume(self, volume_id: str, *, is_live: bool = False) -> resources.VolumeExplanation:
        """Ask why a volume has its status and what comes next."""
        found = resources.VolumeExplanation.new(connection=self._get_connection(), volume_id=_segment(volume_id))
        found.fetch(self, requires_id=False, **_live(is_live))
        return found

    def explain_host(self, name: str) -> resources.HostExplanation:
        """Ask what is recorded of a compute host, what is true on it, and what comes next."""
        return self._get(resources.HostExplanation, requires_id=False, host_name=_segment(name))

    def hosts(self) -> list[resources.Host]:
        return list(self._list(resources.Host))

    def get_host(self, name: str) -> resources.Host:
        """Ask for a compute host."""
        return self._get(resources.Host, _segment(name))

    def fence_attachment(self, attachment_id: str, *, is_forced: bool = False) -> resources.AttachmentFence:
        """Cut an attachment's initiator off its volume; repeating it reads the target again.

        :param is_forced: also if other attachments share the initiator: they are cut off with it.
        :raises ConflictException: others share the initiator.
        """
        return self._create(resources.AttachmentFence, attachment_id=_segment(attachment_id), is_forced=is_forced)

    def get_reservations(self, volume_id: str) -> resources.Reservations:
        """Ask who is registered at a volume, and who holds it.

        :raises ConflictException: its target keeps no reservations.
        """
        return self._get(resources.Reservations, requires_id=False, volume_id=_segment(volume_id))

    def clear_reservations(
        self,
        volume_id: str,
        *,
        attachment_id: str | None = None,
        server_id: str | None = None,
        initiator: str | None = None,
    ) -> resources.ReservationClearance:
        """End the registrations of an attachment, a server or an initiator, or all without any; ask what is left."""
        wanted = {'attachment_id': attachment_id, 'server_id': server_id, 'initiator': initiator}
        return self._create(
            resources.ReservationClearance,
            volume_id=_segment(volume_id),
            **{key: value for key, value in wanted.items() if value is not None},
        )

    def fence_host(
        self, name: str, *, is_out_of_service: bool = False, reason: str | None = None, is_expected: bool = False
    ) -> resources.HostFence:
        """Cut off all that a host has, and keep it from getting more; repeating it goes on.

        :param is_expected: the host need not be known yet: it will appear later.
        :returns: the proof of each attachment, or why there is none yet; whether the host is known.
        """
        # A service of the release before does not know the field.
        expected: dict[str, Any] = {'is_expected': True} if is_expected else {}
        return self._create(
            resources.HostFence,
            host_name=_segment(name),
            is_out_of_service=is_out_of_service,
            reason=reason,
            **expected,
        )

    def unfence_host(self, name: str) -> resources.HostUnfence:
        """Let a host have volumes again; what was cut off stays so."""
        return self._create(resources.HostUnfence, host_name=_segment(name))

    def diagnose(self, *, is_fixed: bool = False, release: Sequence[str] = ()) -> resources.Diagnosis:
        """Have every worker and agent look for drift.

        :param release: seals of what waits for a person and is to be put right, too.
        """
        wish: dict[str, Any] = {'release': list(release)} if release else {}
        return self._create(resources.Diagnosis, is_fixed=is_fixed, **wish)

    def target_pages(self, host: str | None = None, limit: int | None = None) -> Iterator[resources.TargetPage]:
        """List targets, page after page; backends that did not answer are on each."""
        wanted: dict[str, Any] = {'host': host, 'limit': limit}
        query = {key: value for key, value in wanted.items() if value is not None}
        while True:
            page = resources.TargetPage.new(connection=self._get_connection())
            page.fetch(self, requires_id=False, **query)
            yield page
            if page.next_marker is None:
                return
            query['marker'] = page.next_marker

    def get_target(self, volume_id: str) -> resources.Target:
        return self._get(resources.Target, _segment(volume_id))

    def attach_server_volume(
        self, server_id: str, volume_id: str, mode: str, device: str | None = None
    ) -> resources.ServerAttachment:
        """Attach a volume with a mode, ``rw`` or ``ro``, to a server of this service's host agents.

        :raises NotFoundException: no host agent has this server.
        """
        more = {} if device is None else {'device': device}
        return self._create(
            resources.ServerAttachment, server_id=_segment(server_id), volume_id=volume_id, mode=mode, **more
        )


def _live(wanted: bool) -> dict[str, Any]:
    return {'live': '1'} if wanted else {}


def _segment(text: str) -> str:
    """Write a text as one segment of a path."""
    return quote(text, safe='@:')


def make_proxy(connection: sdk_connection.Connection) -> Proxy:
    """Make a proxy of a connection's Block Storage endpoint, as the catalogue or clouds.yaml has it."""
    found: Any = connection.block_storage
    made = Proxy(
        session=found.session,
        service_type=found.service_type,
        service_name=found.service_name,
        interface=found.interface,
        region_name=found.region_name,
        endpoint_override=found.endpoint_override,
        version=found.version,
        min_version=found.min_version,
        max_version=found.max_version,
        default_microversion=found.default_microversion,
        connect_retries=found.connect_retries,
        status_code_retries=found.status_code_retries,
    )
    made._connection = connection
    return made
