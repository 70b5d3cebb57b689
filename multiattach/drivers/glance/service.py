# SPDX-License-Identifier: Apache-2.0
"""Ways to Glance: as whoever calls this service, and as this service itself."""

from collections.abc import Sequence
from typing import Any

from keystoneauth1 import exceptions, plugin, session, token_endpoint

from multiattach.domain import errors
from multiattach.drivers.errors import ImageUnavailable
from multiattach.drivers.glance.client import ImageApi

_TYPE = 'image'


class Glance:
    """The Image service.

    :param servers: URLs of its API; none to take it from the catalogue.
    :param region: region in the catalogue; empty for any.
    """

    def __init__(self, http: session.Session, servers: Sequence[str], interface: str, region: str) -> None:
        self._http = http
        self._servers = list(servers)
        self._interface = interface
        self._region = region

    def as_caller(self, token: str | None, catalog: list[dict[str, Any]]) -> ImageApi:
        """Have its API with a caller's token.

        :raises InvalidInput: his catalogue does not have it.
        """
        servers = self._servers or self._list_endpoints(catalog)
        if not servers:
            raise errors.InvalidInput('The service catalog has no Image service: see [glance].')
        return ImageApi(self._http, token_endpoint.Token(None, token) if token else None, servers)

    def as_service(self, auth: plugin.BaseAuthPlugin | None) -> ImageApi:
        """Have its API with the credentials of this service.

        :param auth: None where it asks for none.
        :raises ImageUnavailable: the catalogue does not have it, or cannot be read.
        """
        if auth is None:
            return self.as_caller(None, [])
        return ImageApi(self._http, auth, self._servers or [self._ask_endpoint(auth)])

    def _ask_endpoint(self, auth: plugin.BaseAuthPlugin) -> str:
        try:
            found = self._http.get_endpoint(
                auth, service_type=_TYPE, interface=self._interface, region_name=self._region or None
            )
        except exceptions.ClientException as exc:
            raise ImageUnavailable(f'The service catalog cannot be read ({type(exc).__name__}).') from exc
        if not found:
            raise ImageUnavailable('The service catalog has no Image service: see [glance].')
        return str(found)

    def _list_endpoints(self, catalog: list[dict[str, Any]]) -> list[str]:
        return [
            str(url)
            for service in catalog
            if service.get('type') == _TYPE
            for endpoint in service.get('endpoints', [])
            if not self._region or endpoint.get('region') == self._region
            if (
                url := endpoint.get(f'{self._interface}URL')
                or (endpoint.get('url') if endpoint.get('interface') == self._interface else None)
            )
        ]
