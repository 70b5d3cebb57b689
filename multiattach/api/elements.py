# SPDX-License-Identifier: Apache-2.0
"""Pieces that several nouns' replies share."""

import datetime
import re

from multiattach.api.request import Request
from multiattach.api.settings import ApiSettings

_VERSIONED = re.compile(r'/v\d+(\.\d+)?/?$')


def base_url(req: Request, settings: ApiSettings) -> str:
    """Return the service's URL without a version and without a slash at its end."""
    if settings.public_endpoint:
        # Where the server in front mounts us is part of it.
        return _VERSIONED.sub('', settings.public_endpoint).rstrip('/')
    return f'{req.host_url}{req.root}'


def format_time(moment: datetime.datetime | None) -> str | None:
    """Write a time (UTC without zone) as Block Storage does: ISO 8601, without zone."""
    return None if moment is None else moment.isoformat(timespec='microseconds')


class Links:
    """Links to things of one request; the project id is in them if it is in the request's URL."""

    def __init__(self, req: Request, settings: ApiSettings, *, mount: str = '', version: str = 'v3') -> None:
        self._base, self._version = f'{base_url(req, settings)}{mount}', version
        self._project = f'{req.url_project}/' if req.url_project else ''

    def of(self, collection: str, ident: str) -> list[dict[str, str]]:
        """Return the links ``self`` and ``bookmark`` to one thing of a collection, ``volumes`` for example."""
        tail = f'{self._project}{collection}/{ident}'
        return [
            {'rel': 'self', 'href': f'{self._base}/{self._version}/{tail}'},
            {'rel': 'bookmark', 'href': f'{self._base}/{tail}'},
        ]
