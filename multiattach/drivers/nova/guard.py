# SPDX-License-Identifier: Apache-2.0
"""Nova, asked whether a server uses a volume (contract 7.3)."""

from typing import Any

from keystoneauth1 import exceptions, session, token_endpoint

from multiattach import turns
from multiattach.domain import errors
from multiattach.drivers.nova.client import is_about_a_resource

_TIMEOUT = 30
_VERSION = {'OpenStack-API-Version': 'compute 2.89'}


class NovaCompute:
    """Nova's REST API with the token of whoever asks.

    :param endpoint: URL of the API; empty to take it from the caller's catalogue.
    :param region: region in the catalogue; empty for any.
    :param cafile: file of certification authorities; empty for the system's.
    """

    def __init__(
        self,
        endpoint: str = '',
        *,
        interface: str = 'public',
        region: str = '',
        cafile: str = '',
        insecure: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._interface = interface
        self._region = region
        self._session = session.Session(verify=False if insecure else (cafile or True), timeout=_TIMEOUT)

    def find_attachment(
        self, token: str | None, catalog: list[dict[str, Any]] | None, server_id: str, volume_id: str
    ) -> str | None:
        endpoint = self._endpoint or self._find_endpoint(catalog or [])
        url = f'{endpoint.rstrip("/")}/servers/{server_id}/os-volume_attachments/{volume_id}'
        try:
            with turns.waiting():
                reply = self._session.get(url, headers=_VERSION, auth=token_endpoint.Token(endpoint, token or ''))
        except exceptions.NotFound as exc:
            if not is_about_a_resource(exc):
                raise errors.Unavailable(
                    f'At {endpoint} there is no Compute API that says whether the server uses the '
                    'volume; check endpoint in [nova] and the catalogue.'
                ) from exc
            return None
        except (exceptions.Forbidden, exceptions.Unauthorized) as exc:
            raise errors.NotAuthorized('The Compute API refuses to say whether the server uses the volume.') from exc
        except exceptions.ClientException as exc:
            raise errors.Unavailable(
                f'The Compute API does not say whether the server uses the volume ({type(exc).__name__}); try again.'
            ) from exc
        try:
            ident: str = reply.json()['volumeAttachment']['attachment_id']
        except (ValueError, LookupError, TypeError) as exc:
            raise errors.Unavailable('The Compute API answers with something else than an attachment.') from exc
        return ident

    def _find_endpoint(self, catalog: list[dict[str, Any]]) -> str:
        for service in catalog:
            if service.get('type') != 'compute':
                continue
            for endpoint in service.get('endpoints', []):
                if self._region and endpoint.get('region') != self._region:
                    continue
                url = endpoint.get(f'{self._interface}URL') or (
                    endpoint.get('url') if endpoint.get('interface') == self._interface else None
                )
                if url:
                    return str(url)
        raise errors.Conflict(
            'ConflictNovaUsingAttachment: nobody can be asked whether a server uses the volume: the '
            'catalogue has no compute endpoint. Use a service token, or set endpoint in [nova].'
        )
