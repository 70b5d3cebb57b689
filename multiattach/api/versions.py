# SPDX-License-Identifier: Apache-2.0
"""Version discovery (contract 1.1)."""

import re
from typing import Any

import pecan

from multiattach.api import microversion, routing
from multiattach.api.faults import WsgiApp
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.settings import ApiSettings
from multiattach.engine.assembly import Engine

_VERSIONED = re.compile(r'/v\d+(\.\d+)?/?$')


def base_url(req: Request, settings: ApiSettings) -> str:
    """Return the service's URL without a version.

    :param req: the request.
    :param settings: settings of the API.
    :returns: URL without a slash at its end.
    """
    base = settings.public_endpoint or req.application_url
    return _VERSIONED.sub('', base).rstrip('/')


def list_versions(req: Request, settings: ApiSettings) -> dict[str, Any]:
    """Return the discovery document.

    :param req: the request.
    :param settings: settings of the API.
    :returns: the list of the one major version.
    """
    api = microversion.BLOCK_STORAGE
    return {'versions': [{
        'id': 'v3.0', 'status': 'CURRENT', 'version': str(api.maximum),
        'min_version': str(api.minimum), 'updated': '2023-08-31T00:00:00Z',
        'links': [
            {'rel': 'describedby', 'type': 'text/html', 'href': 'https://docs.openstack.org/'},
            {'rel': 'self', 'href': f'{base_url(req, settings)}/v3/'},
        ],
        'media-types': [{
            'base': 'application/json',
            'type': 'application/vnd.openstack.volume+json;version=3',
        }],
    }]}


class UnversionedController(Controller):
    """``GET /``: for everybody, with or without a token."""

    @route('GET', '/', status=300)
    def index(self, req: Request) -> dict[str, Any]:
        """List the versions.

        :param req: the request.
        :returns: what the reply shows.
        :raises MultiattachError: as the use case that is called.
        """
        return list_versions(req, self.settings)


class VersionController(Controller):
    """``GET /v3`` and ``GET /v3/``."""

    @route('GET', '')
    def redirect(self, req: Request) -> pecan.Response:
        """Send the client to ``/v3/``.

        :param req: the request.
        :returns: what the reply shows.
        :raises MultiattachError: as the use case that is called.
        """
        response = pecan.Response(status=302, content_type='text/plain')
        response.location = f'{base_url(req, self.settings)}/v3/'
        return response

    @route('GET', '/')
    def index(self, req: Request) -> dict[str, Any]:
        """List the versions: the same list as at ``/`` (contract 11.5).

        :param req: the request.
        :returns: what the reply shows.
        :raises MultiattachError: as the use case that is called.
        """
        return list_versions(req, self.settings)


def make_app(engine: Engine, settings: ApiSettings) -> WsgiApp:
    """Make the application of ``/``.

    :param engine: the use cases.
    :param settings: settings of the API.
    :returns: a WSGI application.
    """
    return routing.make_app(microversion.BLOCK_STORAGE, [UnversionedController(engine, settings)], settings)
