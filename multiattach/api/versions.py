# SPDX-License-Identifier: Apache-2.0
"""Version discovery (contract 1.1)."""

import re
from typing import Any
from urllib.parse import quote

import pecan

from multiattach.api import microversion, routing
from multiattach.api.faults import WsgiApp
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas.replies import TEXT, many, one, strict
from multiattach.api.settings import ApiSettings
from multiattach.engine.assembly import Engine

_VERSIONED = re.compile(r'/v\d+(\.\d+)?/?$')


def base_url(req: Request, settings: ApiSettings) -> str:
    """Return the service's URL without a version.

    :returns: URL without a slash at its end.
    """
    if settings.public_endpoint:
        # Where the server in front mounts us is part of it.
        return _VERSIONED.sub('', settings.public_endpoint).rstrip('/')
    return f'{req.host_url}{req.root}'


_VERSIONS = one(
    'versions',
    many(
        strict(
            {
                'id': TEXT,
                'status': TEXT,
                'version': TEXT,
                'min_version': TEXT,
                'updated': TEXT,
                'links': many(strict({'rel': TEXT, 'href': TEXT}, {'type': TEXT})),
                'media-types': many(strict({'base': TEXT, 'type': TEXT})),
            }
        )
    ),
)


def list_versions(req: Request, settings: ApiSettings) -> dict[str, Any]:
    """Return the discovery document.

    :returns: the list of the one major version.
    """
    api = microversion.BLOCK_STORAGE
    return {
        'versions': [
            {
                'id': 'v3.0',
                'status': 'CURRENT',
                'version': str(api.maximum),
                'min_version': str(api.minimum),
                'updated': '2023-08-31T00:00:00Z',
                'links': [
                    {'rel': 'describedby', 'type': 'text/html', 'href': 'https://docs.openstack.org/'},
                    {'rel': 'self', 'href': f'{base_url(req, settings)}/v3/'},
                ],
                'media-types': [
                    {'base': 'application/json', 'type': 'application/vnd.openstack.volume+json;version=3'}
                ],
            }
        ]
    }


def follow_bookmark(req: Request, endpoint: str) -> pecan.Response:
    """Redirect from a URL without a version, which ``bookmark`` links are, to the same thing below one.

    :param endpoint: URL of the version.
    """
    response = pecan.Response(status=302, content_type='text/plain')
    response.location = f'{endpoint}{quote(req.path_info)}'
    return response


class UnversionedController(Controller):
    """``GET /``: for everybody, with or without a token; below a mount point without a slash, too."""

    @route('GET', '', status=300)
    def index_bare(self, req: Request) -> dict[str, Any]:
        """List the versions."""
        return list_versions(req, self.settings)

    @route('GET', '/', status=300)
    def index(self, req: Request) -> dict[str, Any]:
        """List the versions."""
        return list_versions(req, self.settings)

    @route('GET', '/volumes/{volume_id}', status=302)
    def find_volume(self, req: Request, volume_id: str) -> pecan.Response:
        """Send whoever follows a volume's ``bookmark`` to the version that there is."""
        return follow_bookmark(req, f'{base_url(req, self.settings)}/v3')

    @route('GET', '/messages/{message_id}', status=302)
    def find_message(self, req: Request, message_id: str) -> pecan.Response:
        """Send whoever follows a message's ``bookmark`` to the version that there is."""
        return follow_bookmark(req, f'{base_url(req, self.settings)}/v3')

    @route('GET', '/qos-specs/{qos_id}', status=302)
    def find_qos_specs(self, req: Request, qos_id: str) -> pecan.Response:
        """Send whoever follows the ``bookmark`` of QoS specs to the version that there is."""
        return follow_bookmark(req, f'{base_url(req, self.settings)}/v3')


class VersionController(Controller):
    """``GET /v3`` and ``GET /v3/``."""

    @route('GET', '')
    def redirect(self, req: Request) -> pecan.Response:
        """Send the client to ``/v3/``."""
        response = pecan.Response(status=302, content_type='text/plain')
        response.location = f'{base_url(req, self.settings)}/v3/'
        return response

    @route('GET', '/', reply=_VERSIONS)
    def index(self, req: Request) -> dict[str, Any]:
        """List the versions: the same list as at ``/`` (contract 11.5)."""
        return list_versions(req, self.settings)


def make_app(engine: Engine, settings: ApiSettings) -> WsgiApp:
    """Make the application of ``/``."""
    return routing.make_app(microversion.BLOCK_STORAGE, [UnversionedController(engine, settings)], settings)
