# SPDX-License-Identifier: Apache-2.0
"""Version discovery (contract 1.1), of Block Storage and of Compute, and the way from bookmarks to things.

Bookmarks are URLs without a version; there is one version to be sent to.
"""

from typing import Any
from urllib.parse import quote

import pecan

from multiattach.api import microversion
from multiattach.api.elements import base_url
from multiattach.api.request import Request
from multiattach.api.routing import Controller, Handler, route
from multiattach.api.schemas.replies import TEXT, many, one, strict
from multiattach.api.settings import ApiSettings

COMPUTE = '/compute'
_DOCUMENTED = {'rel': 'describedby', 'type': 'text/html', 'href': 'https://docs.openstack.org/'}
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


def _describe(api: microversion.Api, ident: str, updated: str, *links: dict[str, str]) -> dict[str, Any]:
    return {
        'id': ident,
        'status': 'CURRENT',
        'version': str(api.maximum),
        'min_version': str(api.minimum),
        'updated': updated,
        'links': list(links),
    }


def _name_media(service: str, version: str) -> list[dict[str, str]]:
    return [{'base': 'application/json', 'type': f'application/vnd.openstack.{service};version={version}'}]


def _list_versions(req: Request, settings: ApiSettings) -> dict[str, Any]:
    here = {'rel': 'self', 'href': f'{base_url(req, settings)}/v3/'}
    version = _describe(microversion.BLOCK_STORAGE, 'v3.0', '2023-08-31T00:00:00Z', _DOCUMENTED, here)
    return {'versions': [{**version, 'media-types': _name_media('volume+json', '3')}]}


def _describe_compute(req: Request, settings: ApiSettings) -> dict[str, Any]:
    here = {'rel': 'self', 'href': f'{base_url(req, settings)}{COMPUTE}/v2.1/'}
    return _describe(microversion.COMPUTE, 'v2.1', '2013-07-23T11:33:21Z', here)


def _follow(path: str, version: str) -> Handler:
    """Make what sends whoever follows a bookmark to the same thing below a version."""

    @route('GET', path, status=302)
    def follow(self: Controller, req: Request, _ident: str) -> pecan.Response:
        response = pecan.Response(status=302, content_type='text/plain')
        response.location = f'{base_url(req, self.settings)}{version}{quote(req.path_info)}'
        return response

    return follow


class UnversionedController(Controller):
    """``GET /``: for everybody, with or without a token; below a mount point without a slash, too."""

    def _index(self, req: Request) -> dict[str, Any]:
        return _list_versions(req, self.settings)

    index = route('GET', '/', status=300)(_index)
    index_bare = route('GET', '', status=300)(_index)
    find_volume = _follow('/volumes/{volume_id}', '/v3')
    find_message = _follow('/messages/{message_id}', '/v3')
    find_qos_specs = _follow('/qos-specs/{qos_id}', '/v3')


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
        return _list_versions(req, self.settings)


class ComputeVersionsController(Controller):
    """``GET /compute`` and ``GET /compute/``, in Nova's shape."""

    def _index(self, req: Request) -> dict[str, Any]:
        return {'versions': [_describe_compute(req, self.settings)]}

    index = route('GET', '/')(_index)
    index_bare = route('GET', '')(_index)
    find_server = _follow('/servers/{server_id}', f'{COMPUTE}/v2.1')
    find_flavor = _follow('/flavors/{flavor_id}', f'{COMPUTE}/v2.1')


class ComputeVersionController(Controller):
    """``GET /compute/v2.1`` and ``GET /compute/v2.1/``; no redirect, which clients may take amiss."""

    def _show(self, req: Request) -> dict[str, Any]:
        version = _describe_compute(req, self.settings)
        version['links'].append(_DOCUMENTED)
        return {'version': {**version, 'media-types': _name_media('compute+json', '2.1')}}

    show = route('GET', '/')(_show)
    show_bare = route('GET', '')(_show)
