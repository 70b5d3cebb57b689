# SPDX-License-Identifier: Apache-2.0
"""Middleware that compares each reply with the description of the API at its microversion."""

import functools
import inspect
import json
import re
import typing
from collections.abc import Iterable
from typing import Any

import jsonschema
import webob

from multiattach.api import faults, microversion, openapi
from multiattach.api.block import app as block
from multiattach.api.faults import WsgiApp
from multiattach.api.schemas import replies
from multiattach.api.settings import ApiSettings

_PROJECT = re.compile(rf'/{ApiSettings().project_id_regex}')


class Mismatch(AssertionError):
    """A reply is not as described."""


@functools.cache
def describe(minor: int) -> dict[str, Any]:
    return openapi.describe(block.CONTROLLERS, microversion.Version(3, minor))


@functools.cache
def _find_action(name: str) -> Any:
    return next(
        member.action
        for controller in block.CONTROLLERS
        for _, member in inspect.getmembers(controller, lambda found: hasattr(found, 'action'))
        if member.action.name == name
    )


@functools.cache
def _templates(minor: int) -> list[tuple[re.Pattern[str], str]]:
    """Literal segments first, as the service itself finds its routes."""
    paths = sorted(describe(minor)['paths'], key=lambda path: path.replace('{', '\uffff'))
    return [(re.compile(re.sub(r'{\w+}', '[^/]+', path)), path) for path in paths]


def find(path: str, method: str, minor: int) -> dict[str, Any] | None:
    """Find an operation by a path below ``/v3``."""
    path = path.removesuffix('.json')
    rest = _PROJECT.match(path)
    for candidate in (path, path[rest.end() :] if rest else ''):
        for template, name in _templates(minor):
            if candidate and template.fullmatch(candidate):
                found = describe(minor)['paths'][name].get(method.lower())
                if found is not None:
                    return typing.cast(dict[str, Any], found)
    return None


class Conformance:
    """Passes requests on and checks the replies.

    :param application: the whole service.
    :param strict: 5xx is a mismatch, too; and so is a WebOb error body for what is routed.
    """

    def __init__(self, application: WsgiApp, *, strict: bool) -> None:
        self._application = application
        self._strict = strict
        self.checked = 0
        self.mismatches = 0
        self.seen: dict[tuple[str, int], int] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = webob.Request(environ)
        path = environ['PATH_INFO'].encode('latin-1').decode(errors='replace')
        method, body = request.method, request.body
        reply = webob.Request(environ.copy()).get_response(self._application)
        if path.startswith('/v3/'):
            try:
                self.check(path.removeprefix('/v3'), method, body, request, reply)
            except (Mismatch, ValueError, jsonschema.ValidationError) as error:
                self.mismatches += 1
                raise Mismatch(
                    f'{method} {path}?{environ.get("QUERY_STRING", "")} {dict(request.headers)}\n'
                    f'{body[:2000]!r}\n'
                    f'{reply.status} {dict(reply.headers)}\n{reply.body[:4000]!r}\n{error}'
                ) from error
        return typing.cast(Iterable[bytes], reply(environ, start_response))

    def check(self, path: str, method: str, body: bytes, request: webob.Request, reply: webob.Response) -> None:
        self.checked += 1
        if not re.fullmatch(r'req-[0-9a-f-]{36}', reply.headers.get('x-openstack-request-id', '')):
            raise Mismatch('no request id')
        echoed = reply.headers.get(microversion.HEADER)
        minor = _minor(request)
        if reply.status_int >= 400:
            self._check_error(method, reply)
            return
        if minor is None:
            raise Mismatch('success for a version that cannot be read')
        if echoed is not None and echoed != f'volume 3.{minor}':
            raise Mismatch('the version of the reply is not that of the request')
        operation = find(path, method, minor)
        if operation is None:
            raise Mismatch('success of what is not described')
        self._count(operation, reply)
        self._check_success(operation, body, reply, minor)

    def _count(self, operation: dict[str, Any], reply: webob.Response) -> None:
        key = operation['operationId'], reply.status_int
        self.seen[key] = self.seen.get(key, 0) + 1

    def _check_error(self, method: str, reply: webob.Response) -> None:
        status = reply.status_int
        if self._strict and status >= 500:
            raise Mismatch('an error of the server')
        if reply.content_type in ('text/html', 'text/plain') and status in (404, 413):
            return  # WebOb's shape for a client that does not take JSON
        if reply.content_type != 'application/json':
            raise Mismatch(f'an error of type {reply.content_type}')
        if method != 'HEAD':
            _validate(replies.error(status, faults.find_key(status)), reply)

    def _check_success(self, operation: dict[str, Any], body: bytes, reply: webob.Response, minor: int) -> None:
        described = operation['responses'].get(str(reply.status_int))
        if described is None:
            raise Mismatch('a status that is not described')
        content = described.get('content')
        if operation['operationId'].endswith('_action'):
            (name,) = json.loads(body)
            schema = replies.at(_find_action(name).reply, minor)
            content = None if schema is None else {'application/json': {'schema': schema}}
        if content is None:
            if reply.body:
                raise Mismatch('a body that is not described')
            return
        if reply.content_type != 'application/json':
            raise Mismatch(f'a reply of type {reply.content_type}')
        _validate(content['application/json']['schema'], reply)


def _minor(request: webob.Request) -> int | None:
    try:
        return microversion.negotiate(microversion.BLOCK_STORAGE, request.headers.get(microversion.HEADER)).minor
    except Exception:
        return None


def _validate(schema: Any, reply: webob.Response) -> None:
    jsonschema.Draft202012Validator(schema).validate(reply.json)
