# SPDX-License-Identifier: Apache-2.0
"""A description of the API, made of what the routes' marks and the schemas say (OpenAPI 3.1)."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from multiattach.api import faults, microversion
from multiattach.api.actions import ActionHandler, list_actions
from multiattach.api.routing import Controller, Route, list_routes
from multiattach.api.schemas import replies

Document = dict[str, Any]
_JSON = 'application/json'
_WILDCARD = re.compile(r'{(\w+)}')
_ANY_ERROR = (400, 401, 403, 404, 406, 409)
_BODY_ERRORS = (413, 415)
_SERVER_ERRORS = (500, 503, 504)
_REASONS = {
    400: 'The request is wrong.',
    401: 'The caller is not known.',
    403: 'The caller may not do that.',
    404: 'There is no such thing, or the caller may not see it.',
    406: 'The microversion is not served.',
    409: 'The state of the thing does not allow that.',
    413: 'A quota would be exceeded, or the body is too large.',
    415: 'The body is of another type.',
    500: 'The service failed.',
    503: 'A part that is needed is not there now; try again.',
    504: 'The outcome is not known yet; the same request may be sent again.',
}


def _spell(*words: str) -> str:
    """Return a pattern of words in upper and lower case, for readers without inline flags."""
    spelt = (''.join(f'[{c}{c.upper()}]' if c.isalpha() else c for c in word) for word in words)
    return f'^({"|".join(spelt)})$'


_BOOLEANS = ('1', 't', 'true', 'on', 'y', 'yes', '0', 'f', 'false', 'off', 'n', 'no')
# The formats of multiattach.api.validation as patterns; each admits only what the format does.
FORMATS: Mapping[str, str] = {
    'uuid-like': '^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$',
    'not-blank': r'\S',
    'boolean-like': _spell(*_BOOLEANS),
    'boolean-or-none': _spell(*_BOOLEANS, 'none'),
    'size': '^[1-9][0-9]{0,8}$',
}


@dataclasses.dataclass(frozen=True)
class _Operation:
    """A route with its method."""

    route: Route
    handler: Callable[..., Any]
    actions: tuple[tuple[ActionHandler, Callable[..., Any]], ...]

    @property
    def shape(self) -> str:
        """The path without the wildcards' names, by which OpenAPI tells paths apart."""
        return _WILDCARD.sub('{}', self.route.path)


def describe(controllers: Iterable[type[Controller]], version: microversion.Version) -> Document:
    """Describe an API at one microversion."""
    operations = list(_find(controllers, version.minor))
    paths: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for operation in operations:
        path = names.setdefault(operation.shape, operation.route.path)
        paths.setdefault(path, {'parameters': _describe_path(path)})[operation.route.method.lower()] = (
            _describe_operation(operation, version.minor)
        )
    _link(paths)
    statuses = (*_ANY_ERROR, *_BODY_ERRORS, *_SERVER_ERRORS)
    return {
        'openapi': '3.1.0',
        'info': {
            'title': 'Block Storage',
            'version': str(version),
            'license': {'name': 'Apache-2.0'},
            'description': f'As it is served with "{microversion.HEADER}: volume {version}".',
        },
        'servers': [
            {'url': '/v3'},
            {
                'url': '/v3/{project_id}',
                'description': 'The same with the project of the caller.',
                'variables': {'project_id': {'default': '0' * 32}},
            },
        ],
        'paths': paths,
        'components': {
            'parameters': {
                'Version': {
                    'name': microversion.HEADER,
                    'in': 'header',
                    'required': True,
                    'schema': {'const': f'volume {version}'},
                }
            },
            'responses': {str(status): _describe_error(status) for status in statuses},
        },
    }


def _find(controllers: Iterable[type[Controller]], minor: int) -> Iterable[_Operation]:
    for route, handler, controller in list_routes(controllers):
        if route.since <= minor and route.path:
            actions = list_actions(controller) if route.path.endswith('/action') else []
            yield _Operation(route, handler, tuple(pair for pair in actions if pair[0].since <= minor))


def _never_succeeds(handler: Callable[..., Any]) -> bool:
    return handler.__annotations__.get('return') is NoReturn


def _describe_path(path: str) -> list[Document]:
    return [
        {'$ref': '#/components/parameters/Version'},
        *(
            {'name': name, 'in': 'path', 'required': True, 'schema': {'type': 'string', 'minLength': 1}}
            for name in _WILDCARD.findall(path)
        ),
    ]


def _describe_operation(operation: _Operation, minor: int) -> Document:
    route = operation.route
    words = re.sub(r'[^a-z]+', ' ', route.path.lower()).split()
    described: Document = {
        'operationId': '_'.join([route.method.lower(), *words]),
        'summary': (operation.handler.__doc__ or '').partition('\n')[0],
        'tags': words[:1] or ['versions'],
        'parameters': _describe_query(route, minor),
        'responses': _describe_replies(operation, minor),
    }
    if route.body is not None:
        described['requestBody'] = {'required': True, 'content': {_JSON: {'schema': _describe_body(operation, minor)}}}
    return described


def _describe_query(route: Route, minor: int) -> list[Document]:
    if route.query is None:
        return []
    schema = route.query.at(minor)
    parameters: list[Document] = [
        {'name': name, 'in': 'query', 'schema': translate(inner)}
        for name, inner in schema.get('properties', {}).items()
    ]
    if schema.get('additionalProperties', True):
        parameters.append(
            {
                'name': 'filters',
                'in': 'query',
                'style': 'form',
                'explode': True,
                'description': 'Filters; each is a parameter of its own.',
                'schema': {'type': 'object', 'additionalProperties': {'type': 'string'}},
            }
        )
    return parameters


def _describe_body(operation: _Operation, minor: int) -> Any:
    if not operation.actions:
        assert operation.route.body is not None
        return translate(operation.route.body.at(minor))
    return {
        'oneOf': [
            {
                'type': 'object',
                'required': [action.name],
                'additionalProperties': False,
                'title': (handler.__doc__ or '').partition('\n')[0],
                'properties': {action.name: translate(action.schema.at(minor))},
            }
            for action, handler in operation.actions
        ]
    }


def _describe_replies(operation: _Operation, minor: int) -> Document:
    described: Document = {}
    if operation.actions:
        for action, handler in operation.actions:
            if not _never_succeeds(handler):
                _add_reply(described, action.status, action.reply, minor)
    elif not _never_succeeds(operation.handler):
        route = operation.route
        _add_reply(described, route.status, route.reply, minor)
    errors = (*_ANY_ERROR, *(_BODY_ERRORS if operation.route.body is not None else (413,)), *_SERVER_ERRORS)
    for status in errors:
        described[str(status)] = {'$ref': f'#/components/responses/{status}'}
    return described


def _add_reply(described: Document, status: int, reply: replies.Reply, minor: int) -> None:
    """Several actions may share a status; some of them then reply with nothing."""
    answer = described.setdefault(str(status), {'description': 'Success.'})
    if reply is None:
        return
    schema = translate(replies.at(reply, minor))
    content = answer.setdefault('content', {_JSON: {'schema': {'anyOf': []}}})
    choices = content[_JSON]['schema']['anyOf']
    if schema not in choices:
        choices.append(schema)


def _describe_error(status: int) -> Document:
    schema = replies.error(status, faults.find_key(status))
    return {'description': _REASONS[status], 'content': {_JSON: {'schema': translate(schema)}}}


def translate(schema: Any) -> Any:
    """Write a schema so that readers without Python understand it, with patterns of ECMA 262 for own formats."""
    if isinstance(schema, list | tuple):
        return [translate(item) for item in schema]
    if isinstance(schema, str):
        return schema.replace(r'\Z', '$')
    if not isinstance(schema, Mapping):
        return schema
    translated = {translate(key): translate(value) for key, value in schema.items()}
    if isinstance(translated.get('format'), str):
        translated['pattern'] = FORMATS[translated.pop('format')]
    return translated


# Wildcards, the calls that make what they name, and where the reply tells its id.
_MAKERS = {
    'volume_id': ('/volumes', 'post', '202', '$response.body#/volume/id'),
    'type_id': ('/types', 'post', '200', '$response.body#/volume_type/id'),
    'qos_id': ('/qos-specs', 'post', '200', '$response.body#/qos_specs/id'),
    'attachment_id': ('/attachments', 'post', '200', '$response.body#/attachment/id'),
}


def _link(paths: dict[str, dict[str, Any]]) -> None:
    """Tell which calls take the id that another one replies with."""
    for name, (path, method, status, ident) in _MAKERS.items():
        if path not in paths:
            continue
        links = paths[path][method]['responses'][status].setdefault('links', {})
        for other, item in paths.items():
            if f'{{{name}}}' in other:
                for described in item.values():
                    if isinstance(described, dict):
                        links[described['operationId']] = {
                            'operationId': described['operationId'],
                            'parameters': {name: ident},
                        }
    if '/attachments' in paths:
        paths['/volumes']['post']['responses']['202']['links']['post_attachments'] = {
            'operationId': 'post_attachments',
            'requestBody': {'attachment': {'volume_uuid': '$response.body#/volume/id'}},
        }
