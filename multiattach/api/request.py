# SPDX-License-Identifier: Apache-2.0
"""A request as controllers see it."""

import json
from typing import Any, NoReturn
from urllib.parse import quote

import pecan

from multiattach.api import faults
from multiattach.api.microversion import Version
from multiattach.domain import errors
from multiattach.engine.context import RequestContext

CONTEXT = 'multiattach.context'
VERSION = 'multiattach.version'
ROUTED = 'multiattach.routed'
ROUTE = 'multiattach.route'
ACTION = 'multiattach.action'
PROJECT = 'multiattach.url_project'
# Where the server in front mounts us: SCRIPT_NAME before any mount of our own is in it.
ROOT = 'multiattach.root'
_MAX_DEPTH = 64
_NO_TEXT = 'The server could not comply with the request since it is either malformed or otherwise incorrect.'
JSON_TYPES = ('application/json', 'application/vnd.openstack.volume+json')


class Request(pecan.Request):
    """A request; what the middlewares found out about it is in its WSGI environment."""

    # Pecan's own looks at each access to an attribute whether it can be decoded; path and query are what may not be.
    __getattribute__ = object.__getattribute__

    @property
    def ctx(self) -> RequestContext:
        """The caller."""
        ctx: RequestContext = self.environ[CONTEXT]
        return ctx

    @property
    def version(self) -> Version:
        """The negotiated microversion."""
        version: Version = self.environ[VERSION]
        return version

    @property
    def minor(self) -> int:
        """The second number of the negotiated microversion."""
        return self.version.minor

    @property
    def url_project(self) -> str | None:
        """Project id in the URL, if there is one (contract 1.5)."""
        project: str | None = self.environ.get(PROJECT)
        return project

    @property
    def root(self) -> str:
        """Path at which the server in front mounts us, quoted; empty, or without a slash at its end."""
        root: str = self.environ.get(ROOT, self.environ['SCRIPT_NAME'])
        return quote(root.encode('latin-1')).rstrip('/')

    @property
    def own_path(self) -> str:
        """Path below :attr:`root`, quoted, whatever is mounted inside of us."""
        path: str = self.path
        return path.removeprefix(self.root)

    @property
    def segments(self) -> list[str]:
        """The segments of the path below what is mounted.

        :raises InvalidInput: not UTF-8.
        """
        try:
            path: str = self.environ.get('PATH_INFO', '').encode('latin-1').decode()
        except UnicodeDecodeError as error:
            raise faults.Malformed(_NO_TEXT) from error
        return path.split('/')[1:]

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated one the last.

        :raises InvalidInput: not UTF-8, or with a character that no value may have.
        """
        if not self.environ.get('QUERY_STRING'):
            return {}
        try:
            query = dict(self.GET.items())
        except UnicodeDecodeError as error:
            raise faults.Malformed(_NO_TEXT) from error
        if any('\0' in key or '\0' in value for key, value in query.items()):
            raise errors.InvalidInput('A query parameter contains a NUL character.')
        return query

    def read_json(self) -> Any:
        """Parse the body.

        :raises Malformed: empty, or no JSON that a database could keep.
        :raises UnsupportedMediaType: a body of another type.
        """
        body = self.body
        if body and self.content_type and self.content_type not in JSON_TYPES:
            raise faults.UnsupportedMediaType('Unsupported Content-Type')
        try:
            value = json.loads(body.decode(), parse_constant=_refuse)
            if b'\\u' in body:
                _check_escapes(body, value)
            if body.count(b'{') + body.count(b'[') > _MAX_DEPTH:
                _check_depth(value)
        except (ValueError, RecursionError) as error:
            raise faults.Malformed from error
        return value


def _check_escapes(body: bytes, value: Any) -> None:
    """Refuse what JSON can say and a text column cannot keep: NUL and half characters."""
    if b'\\u0000' in body:
        raise ValueError('NUL')
    json.dumps(value, ensure_ascii=False).encode()


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError('too deep')


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
