# SPDX-License-Identifier: Apache-2.0
"""From a URL to a controller's method: one explicit table on top of Pecan.

Pecan's own dispatch by attribute names knows neither optional project ids nor microversions, and
answers a wrong verb with 405; so the root controller takes over at Pecan's ``_route`` hook.
"""

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pecan
from pecan import core, hooks

from multiattach.api import faults, microversion
from multiattach.api.request import CONTEXT, PROJECT, ROUTE, ROUTED, VERSION, Request
from multiattach.api.schemas.replies import Reply
from multiattach.api.settings import ApiSettings
from multiattach.api.validation import Schemas, Versioned, versioned
from multiattach.domain import errors, idents
from multiattach.engine.assembly import Engine

# Pecan asks for a controller's signature at each request, which costs more than the rest of Pecan.
core.getargspec = functools.lru_cache(maxsize=1024)(core.getargspec)

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
        def endpoint(self: Controller, req: Request, resp: pecan.Response, *args: str) -> pecan.Response:
            if checked_query is not None:
                checked_query.check(req.query, req.minor)
            if checked_body is None:
                return fill(resp, status, handler(self, req, *args))
            parsed = checked_body.check(req.read_json(), req.minor)
            return fill(resp, status, handler(self, req, parsed, *args))

        functools.update_wrapper(endpoint, handler)
        del endpoint.__wrapped__  # type: ignore[attr-defined]  # Pecan would see that signature
        endpoint.route = Route(  # type: ignore[attr-defined]
            method, path, since, status, checked_body, checked_query, reply, rules
        )
        exposed: Handler = pecan.expose(content_type='application/json')(endpoint)
        return exposed

    return decorate


def list_routes(controllers: Iterable[type[Controller]]) -> list[tuple[Route, Handler, type[Controller]]]:
    """Return every route with its method and its controller, by path."""
    found = [
        (handler.route, handler, controller)
        for controller in controllers
        for _, handler in inspect.getmembers(controller, lambda member: hasattr(member, 'route'))
    ]
    return sorted(found, key=lambda item: item[0].path)


def fill(response: pecan.Response, status: int, value: Any) -> pecan.Response:
    """Fill a response.

    :param response: Pecan's response, or another one.
    :param value: a JSON value, None for an empty body, or a whole response.
    """
    if isinstance(value, core.WebObResponse):
        return value
    if value is None and status == 200:
        return _EmptyOk()
    response.status_int = status
    if value is None:
        response.content_type = None
    else:
        response.content_type = 'application/json'
        response.body = json.dumps(value).encode()
    return response


class _EmptyOk(pecan.Response):
    """An empty 200, of which Pecan would make 204 if it were not a generator's."""

    def __init__(self) -> None:
        super().__init__(app_iter=(piece for piece in (b'',)), content_type=None)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.content_length = 0
        replied: Iterable[bytes] = super().__call__(environ, start_response)
        return replied


class _Node:
    """One segment of the route table."""

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.wildcard: _Node | None = None
        self.endpoints: dict[str, Handler] = {}

    def grow(self, segment: str) -> '_Node':
        if segment.startswith('{'):
            self.wildcard = self.wildcard or _Node()
            return self.wildcard
        return self.literals.setdefault(segment, _Node())

    def find(
        self, method: str, segments: Sequence[str], args: tuple[str, ...] = ()
    ) -> tuple[Handler, tuple[str, ...]] | None:
        if not segments:
            endpoint = self.endpoints.get(method)
            return None if endpoint is None else (endpoint, args)
        head, rest = segments[0], segments[1:]
        literal = self.literals.get(head)
        found = literal.find(method, rest, args) if literal is not None else None
        if found is None and self.wildcard is not None and head:
            found = self.wildcard.find(method, rest, (*args, head))
        return found


class Root:
    """Pecan's root controller."""

    def __init__(self, api: microversion.Api, controllers: Iterable[Controller], settings: ApiSettings) -> None:
        self._api = api
        self._project = re.compile(settings.project_id_regex)
        self._tree = _Node()
        for controller in controllers:
            for _, endpoint in inspect.getmembers(controller, lambda member: hasattr(member, 'route')):
                self._add(endpoint)

    def _add(self, endpoint: Handler) -> None:
        marked: Route = endpoint.route  # type: ignore[attr-defined]
        node = self._tree
        for segment in marked.segments:
            node = node.grow(segment)
        if marked.method in node.endpoints:
            raise ValueError(f'Two routes for {marked.method} {marked.segments}')
        node.endpoints[marked.method] = endpoint

    @pecan.expose()
    def _route(self, args: list[str], request: Request) -> tuple[Handler, list[str]]:
        """Find the method that answers a request; Pecan calls this."""
        endpoint, values, project = self._find(request.method, list(args))
        mark: Route = endpoint.route  # type: ignore[attr-defined]
        request.environ[ROUTED] = True
        request.environ[ROUTE] = mark.path
        request.environ[PROJECT] = project
        request.pecan['content_type'] = 'application/json'
        version = microversion.negotiate(
            self._api,
            request.headers.get(microversion.HEADER),
            request.headers.get(self._api.legacy_header) if self._api.legacy_header else None,
        )
        request.environ[VERSION] = version
        if mark.since > version.minor:
            raise faults.NoSuchMethod
        if any(len(value) > _MAX_SEGMENT for value in values):
            raise errors.NotFound('The resource could not be found.')
        ctx = request.environ.get(CONTEXT)
        if project is not None and ctx is not None and ctx.project != project:
            raise errors.InvalidInput('Malformed request url')
        names = [segment for segment in mark.segments if segment.startswith('{')]
        return endpoint, [
            idents.normalise(value) if _IDENT.fullmatch(name) else value
            for name, value in zip(names, values, strict=True)
        ]

    def _find(self, method: str, segments: list[str]) -> tuple[Handler, tuple[str, ...], str | None]:
        if segments and segments[-1].endswith(_SUFFIX):
            segments[-1] = segments[-1].removesuffix(_SUFFIX)
        if any('\0' in segment for segment in segments):
            raise faults.Unrouted
        found = self._tree.find(method, segments)
        if found is not None:
            return *found, None
        if len(segments) > 1 and self._project.fullmatch(segments[0]):
            found = self._tree.find(method, segments[1:]) if segments[1:] != [''] else None
            if found is not None:
                return *found, segments[0]
        raise faults.Unrouted


class _ReplyHook(hooks.PecanHook):
    """Renders errors and puts version and request id on every reply."""

    def __init__(self, api: microversion.Api) -> None:
        self._api = api

    def on_error(self, state: Any, error: Exception) -> Any:
        """Render an error."""
        if isinstance(error, microversion.VersionNotSupported):
            state.request.environ[VERSION] = error.refused
        return faults.answer(error)

    def after(self, state: Any) -> None:
        """Complete a reply."""
        environ = state.request.environ
        if not environ.get(ROUTED):
            return
        headers = state.response.headers
        version = environ.get(VERSION)
        if version is not None:
            headers.update(microversion.reply_headers(self._api, version))
        headers['x-compute-request-id'] = environ.get('openstack.request_id', '')


class _Application(core.ExplicitPecan):
    """Pecan without the signatures that it reads anew for each request, most of its own time."""

    def route(self, req: Request, node: Root, path: str) -> tuple[Handler, list[str]]:
        """Ask the root controller at once."""
        found: tuple[Handler, list[str]] = node._route(path.split('/')[1:], req)
        return found

    def invoke_controller(
        self, controller: Handler, args: list[Any], kwargs: dict[str, Any], state: core.RoutingState
    ) -> None:
        """Call a controller's method, which always returns a whole response."""
        state.response = controller(*args, **kwargs)


def make_app(api: microversion.Api, controllers: Iterable[Controller], settings: ApiSettings) -> faults.WsgiApp:
    """Make a Pecan application of controllers.

    :returns: a WSGI application without authentication.
    """
    return _Application(
        Root(api, controllers, settings),
        hooks=[_ReplyHook(api)],
        force_canonical=False,
        guess_content_type_from_ext=False,
        request_cls=Request,
        default_renderer='json',
    )
