# SPDX-License-Identifier: Apache-2.0
"""Nova, asked by this service itself whether servers are still there."""

import enum
from typing import Any

from keystoneauth1 import adapter, exceptions

from multiattach.domain import errors

# The first with which a deleted server is asked for by its id; others are shown in one way up to the newest.
_VERSION = '2.1'
# Statuses in which a server has its volumes; a shelved one has places for them.
_SETTLED = frozenset({'ACTIVE', 'PAUSED', 'SUSPENDED', 'SHUTOFF', 'RESCUE', 'PASSWORD', 'REBOOT', 'HARD_REBOOT'})


class ServerState(enum.Enum):
    """What Nova says of a server."""

    THERE = 'there'
    DELETED = 'deleted'  # Nova remembers that it was deleted
    UNKNOWN = 'unknown'  # Nova has nothing of it, or nothing any more


class NovaServers:
    """Asks as a user of this service, who must be allowed to see the servers of all projects."""

    def __init__(self, client: adapter.Adapter) -> None:
        self._client = client

    def find(self, server_id: str) -> ServerState:
        """Ask about a server.

        Nova answers 404 for servers of other projects, too, unless the account may see all: so the list of
        all projects is asked first, which it refuses to others.

        :raises Unavailable: it does not answer, or the account may not see all servers.
        """
        if self._list(server_id, deleted=False):
            return ServerState.THERE
        if self._show(server_id):
            return ServerState.THERE
        return ServerState.DELETED if self._list(server_id, deleted=True) else ServerState.UNKNOWN

    def is_on_host(self, server_id: str) -> bool:
        """Return whether a server is on a host: not shelved, being built, about to come or go, or unknown.

        :raises Unavailable: it does not answer, or not with a server.
        """
        reply = self._ask(f'/servers/{server_id}', {})
        if reply is None:
            return False
        try:
            server = reply.json()['server']
            # The host is shown to admins, which this service must be anyway.
            return bool(server.get('OS-EXT-SRV-ATTR:host')) and server.get('status') in _SETTLED
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise errors.Unavailable('The Compute API answers with something else than a server.') from exc

    def _list(self, server_id: str, *, deleted: bool) -> bool:
        query = {'all_tenants': '1', 'uuid': server_id} | ({'deleted': 'True'} if deleted else {})
        reply = self._ask('/servers', query)
        if reply is None:
            raise errors.Unavailable('The Compute API has no list of servers; check endpoint in [nova].')
        try:
            return any(one['id'] == server_id for one in reply.json()['servers'])
        except (ValueError, LookupError, TypeError) as exc:
            raise errors.Unavailable('The Compute API answers with something else than servers.') from exc

    def _show(self, server_id: str) -> bool:
        reply = self._ask(f'/servers/{server_id}', {})
        if reply is None:
            return False
        try:
            return bool(reply.json()['server']['id'] == server_id)
        except (ValueError, LookupError, TypeError) as exc:
            raise errors.Unavailable('The Compute API answers with something else than a server.') from exc

    def _ask(self, path: str, query: dict[str, str]) -> Any:
        """GET something; None for a resource that is not there, in Nova's own words."""
        try:
            return self._client.get(path, params=query, microversion=_VERSION)
        except exceptions.NotFound as exc:
            if is_about_a_resource(exc):
                return None
            raise errors.Unavailable('At the endpoint there is no Compute API; check [nova].') from exc
        except (exceptions.Forbidden, exceptions.Unauthorized) as exc:
            raise errors.Unavailable(
                'The Compute API does not show this service the servers of all '
                'projects: the account in [nova] needs the role admin.'
            ) from exc
        except exceptions.ClientException as exc:
            raise errors.Unavailable(f'The Compute API does not answer ({type(exc).__name__}).') from exc


def is_about_a_resource(error: exceptions.NotFound) -> bool:
    """Tell "no such server or volume" from "no such URL", which must open no door."""
    try:
        return error.response is not None and 'itemNotFound' in error.response.json()
    except (TypeError, ValueError):
        return False
