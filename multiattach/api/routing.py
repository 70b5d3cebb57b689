# SPDX-License-Identifier: Apache-2.0
"""From a URL to a controller's method: one explicit table on top of Pecan.

Pecan's own dispatch by attribute names knows neither optional project ids nor microversions, and
answers a wrong verb with 405; so the application finds controllers itself, and calls them with what it found.
"""

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pecan
from pecan import core, hooks

from multiattach.api import faults, microversion
from multiattach.api.request import CONTEXT, PROJECT, ROOT, ROUTE, ROUTED, VERSION, Request
from multiattach.api.schemas.replies import Reply
from multiattach.api.settings import ApiSettings
from multiattach.api.validation import Schemas, Versioned, versioned
from multiattach.domain import errors, idents
from multiattach.engine.assembly import Engine

Handler = Callable[..., Any]
_SUFFIX = '.json'
_MAX_SEGMENT = 255
# Wildcards of what this service gives ids to; a project's id is Keystone's.
_IDENT = re.compile(r'\{(?!project_id)\w+_id\}')


class Controller:
    """Base of controllers: methods marked with :func:`route` answer requests."""

    def __init__(self, engine: Engine, settings: ApiSettings) -> None:
        self.engine = engine
        self.settings = settings


@dataclasses.dataclass(frozen=True)
class Route:
    """What :func:`route` says of a method; arguments as there."""

    method: str
    path: str
    since: int
    status: int
    body: Versioned | None
    query: Versioned | None
    reply: Reply
    rules: tuple[str, ...]

    @property
    def segments(self) -> list[str]:
        """The path's segments."""
        return self.path.split('/')[1:]


def route(
    method: str,
    path: str,
    *,
    since: int = 0,
    status: int = 200,
    body: Schemas | None = None,
    query: Schemas | None = None,
    reply: Reply = None,
    rules: tuple[str, ...] = (),
) -> Callable[[Handler], Handler]:
    """Mark a controller's method as the answer to a kind of request.

    The method gets the request, the parsed body if the route has a schema for one, and the
    path's wildcards in order. It returns a JSON value, None for an empty reply, or a response.

    :param path: path below the mount point; ``{name}`` stands for any one segment.
    :param since: microversion's second number from which it exists.
    :param status: HTTP status of a success.
    :param body: schemas of the body; None if it has none.
    :param query: schemas of the query parameters.
    :param reply: schema of what a success answers with, for the description; the Compute endpoint has none.
    :param rules: names of the policy rules that the use case asks.
    """
    checked_body, checked_query = versioned(body), versioned(query)

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def endpoint(self: Controller, req: Request, *args: str) -> pecan.Response:
            if checked_query is not None:
                checked_query.check(req.query, req.minor)
            if checked_body is None:
                return make_reply(status, handler(self, req, *args))
            parsed = checked_body.check(req.read_json(), req.minor)
            return make_reply(status, handler(self, req, parsed, *args))

        endpoint.route = Route(  # type: ignore[attr-defined]
            method, path, since, status, checked_body, checked_query, reply, rules
        )
        return endpoint

    return decorate


def list_routes(controllers: Iterable[type[Controller]]) -> list[tuple[Route, Handler, type[Controller]]]:
    found = [
        (handler.route, handler, controller)
        for controller in controllers
        for _, handler in inspect.getmembers(controller, lambda member: hasattr(member, 'route'))
    ]
    return sorted(found, key=lambda item: item[0].path)


def make_reply(status: int, value: Any) -> pecan.Response:
    """Make a response.

    :param value: a JSON value, None for an empty body, or a whole response.
    """
    if isinstance(value, core.WebObResponse):
        return value
    headers = []
    body = b''
    if value is not None:
        headers.append(('Content-Type', 'application/json'))
        body = json.dumps(value).encode()
    headers.append(('Content-Length', str(len(body))))
    return pecan.Response(status=None if status == 200 else status, headerlist=headers, app_iter=[body])


class _Found(NamedTuple):
    """A route with the method that answers it."""

    endpoint: Handler
    mark: Route
    # Of each wildcard, whether it is an id.
    idents: tuple[bool, ...]


class _Node:
    """One segment of the route table."""

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.wildcard: _Node | None = None
        self.endpoints: dict[str, _Found] = {}

    def grow(self, segment: str) -> '_Node':
        if segment.startswith('{'):
            self.wildcard = self.wildcard or _Node()
            return self.wildcard
        return self.literals.setdefault(segment, _Node())

    def find(self, method: str, segments: list[str], args: list[str], at: int = 0) -> _Found | None:
        """Find what answers the segments from one on; fill *args* with what stands for wildcards."""
        if at == len(segments):
            return self.endpoints.get(method)
        head = segments[at]
        literal = self.literals.get(head)
        found = literal.find(method, segments, args, at + 1) if literal is not None else None
        if found is None and self.wildcard is not None and head:
            args.append(head)
            found = self.wildcard.find(method, segments, args, at + 1)
            if found is None:
                args.pop()
        return found


class Table:
    """The routes of an API."""

    def __init__(self, api: microversion.Api, controllers: Iterable[Controller], settings: ApiSettings) -> None:
        self._api = api
        self._headers = [_variable(name) for name in (microversion.HEADER, api.legacy_header)]
        self._project = re.compile(settings.project_id_regex)
        self._tree = _Node()
        for controller in controllers:
            for _, endpoint in inspect.getmembers(controller, lambda member: hasattr(member, 'route')):
                self._add(endpoint)

    def _add(self, endpoint: Handler) -> None:
        mark: Route = endpoint.route  # type: ignore[attr-defined]
        node = self._tree
        for segment in mark.segments:
            node = node.grow(segment)
        if mark.method in node.endpoints:
            raise ValueError(f'Two routes for {mark.method} {mark.segments}')
        names = [segment for segment in mark.segments if segment.startswith('{')]
        node.endpoints[mark.method] = _Found(endpoint, mark, tuple(bool(_IDENT.fullmatch(name)) for name in names))

    def find(self, request: Request) -> tuple[Handler, list[str]]:
        """Find the method that answers a request, and what of the path it is called with.

        :raises Unrouted: nothing answers.
        """
        environ = request.environ
        found, values, project = self._find(environ['REQUEST_METHOD'], request.segments)
        environ[ROUTED] = True
        environ[ROUTE] = found.mark.path
        environ[PROJECT] = project
        version = microversion.negotiate(self._api, *(environ.get(name) for name in self._headers))
        environ[VERSION] = version
        if found.mark.since > version.minor:
            raise faults.NoSuchMethod
        if any(len(value) > _MAX_SEGMENT for value in values):
            raise errors.NotFound('The resource could not be found.')
        ctx = environ.get(CONTEXT)
        if project is not None and ctx is not None and ctx.project != project:
            raise errors.InvalidInput('Malformed request url')
        return found.endpoint, [
            idents.normalise(value) if is_ident else value for is_ident, value in zip(found.idents, values, strict=True)
        ]

    def _find(self, method: str, segments: list[str]) -> tuple[_Found, list[str], str | None]:
        if segments and segments[-1].endswith(_SUFFIX):
            segments[-1] = segments[-1].removesuffix(_SUFFIX)
        if any('\0' in segment for segment in segments):
            raise faults.Unrouted
        args: list[str] = []
        found = self._tree.find(method, segments, args)
        if found is not None:
            return found, args, None
        if len(segments) > 1 and self._project.fullmatch(segments[0]):
            found = self._tree.find(method, segments, args, 1) if segments[1:] != [''] else None
            if found is not None:
                return found, args, segments[0]
        raise faults.Unrouted


def _variable(header: str) -> str:
    """Return the name of a header in a WSGI environment."""
    return f'HTTP_{header.upper().replace("-", "_")}'


class _ReplyHook(hooks.PecanHook):
    """Renders errors and puts version and request id on every reply."""

    def __init__(self, api: microversion.Api) -> None:
        self._api = api

    def on_error(self, state: Any, error: Exception) -> Any:
        if isinstance(error, microversion.VersionNotSupported):
            state.request.environ[VERSION] = error.refused
        return faults.answer(error)

    def after(self, state: Any) -> None:
        environ = state.request.environ
        if not environ.get(ROUTED):
            return
        headers = state.response.headerlist
        version = environ.get(VERSION)
        if version is not None:
            headers += microversion.reply_headers(self._api, version).items()
        headers.append(('x-compute-request-id', environ.get('openstack.request_id', '')))


_NOTHING = pecan.Response()


class _Application(core.ExplicitPecan):
    """Pecan's life of a request, with a table of its own: half of Pecan's time goes into guesses at what a controller
    takes and returns.
    """

    def find_controller(self, state: core.RoutingState) -> tuple[Handler, list[str], dict[str, Any]]:
        """Ask the table."""
        return *self.root.find(state.request), {}

    def invoke_controller(
        self, controller: Handler, args: list[str], kwargs: dict[str, Any], state: core.RoutingState
    ) -> None:
        """Call a controller's method, which returns a whole response."""
        state.response = controller(state.request, *args)

    def _handle_empty_response_body(self, state: core.RoutingState) -> None:
        """Leave an empty 200 what it is; Pecan would make 204 of it."""


def make_app(api: microversion.Api, controllers: Iterable[Controller], settings: ApiSettings) -> faults.WsgiApp:
    """Make a Pecan application of controllers."""
    return _Application(
        Table(api, controllers, settings),
        hooks=[_ReplyHook(api)],
        request_cls=Request,
        response_cls=lambda: _NOTHING,  # each endpoint makes its own
    )


class Mounts:
    """Several WSGI applications under one: dispatches on the first segment of the path.

    :param applications: by path prefix, one segment each.
    :param default: for all other paths.
    """

    def __init__(self, applications: Mapping[str, faults.WsgiApp], default: faults.WsgiApp) -> None:
        self._applications = dict(applications)
        self._default = default

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        path = environ.get('PATH_INFO', '')
        prefix = path[1:].partition('/')[0]
        application = self._applications.get(f'/{prefix}')
        if application is None:
            return self._default(environ, start_response)
        environ.setdefault(ROOT, environ.get('SCRIPT_NAME', ''))
        environ['SCRIPT_NAME'] = f'{environ.get("SCRIPT_NAME", "")}/{prefix}'
        environ['PATH_INFO'] = path[len(prefix) + 1 :]
        return application(environ, start_response)
