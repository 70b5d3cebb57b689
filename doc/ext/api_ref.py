# SPDX-License-Identifier: Apache-2.0
"""The reference of the API, made of routes, schemas and policy rules."""

import re
from collections.abc import Iterable
from typing import Any

import generated
import samples

from multiattach.api import microversion, routing
from multiattach.api.actions import ActionController, list_actions
from multiattach.api.block import absent, app as block
from multiattach.api.compute import app as compute
from multiattach.api.validation import Versioned

_WILDCARD = re.compile(r'{\w+}')
_NOUN = re.compile(r'^/(?:multiattach/)?(?:servers/{\w+}/)?([^/{]+)')


def list_routes(controllers: Iterable[type[Any]]) -> list[tuple[Any, Any, type[Any]]]:
    """Return mark, method and controller of every route, in order of their paths."""
    return sorted(routing.list_routes(controllers), key=lambda item: (item[0].path, item[0].method))


def shape(method: str, path: str) -> tuple[str, str]:
    """Return a route without the names of its wildcards."""
    return method, _WILDCARD.sub('{}', path)


def _name_rules(rules: Iterable[str], otherwise: str) -> str:
    return f'Policy: {", ".join(f"``{name}``" for name in rules) or otherwise}.'


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []

    def write(cells: tuple[str, ...]) -> str:
        return ', '.join(f'"{cell}"' for cell in cells)

    return ['.. csv-table::', f'   :header: {write(header)}', '', *(f'   {write(row)}' for row in rows), '']


def _first_line(handler: Any) -> str:
    return (handler.__doc__ or '').partition('\n')[0]


def _list_fields(versioned: Versioned | None, api: microversion.Api, prefix: str = '') -> list[tuple[str, ...]]:
    """Return a row for each property, with the microversion from which it is known."""
    if versioned is None:
        return []
    seen: dict[str, tuple[int, bool, Any]] = {}
    for minor in versioned._minors:
        for name, required, schema in _walk(versioned.at(minor), prefix):
            seen.setdefault(name, (minor, required, schema))
    return [
        (
            f'``{name}``',
            _name_type(schema),
            'yes' if required else 'no',
            f'{api.minimum.major}.{minor}' if minor else '',
        )
        for name, (minor, required, schema) in seen.items()
    ]


def _walk(schema: Any, prefix: str) -> Iterable[tuple[str, bool, Any]]:
    for name, inner in schema.get('properties', {}).items():
        yield f'{prefix}{name}', name in schema.get('required', ()), inner
        if isinstance(inner, dict) and inner.get('properties'):
            yield from _walk(inner, f'{prefix}{name}.')


# What a text has to look like, where it is a text.
_FORMATS = {'uuid-like': 'UUID', 'boolean-like': 'boolean as a text', 'size': 'whole number as a text'}


def _name_type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return 'any'
    if 'enum' in schema:
        return ' or '.join('null' if option is None else str(option) for option in schema['enum'])
    choices = schema.get('anyOf') or schema.get('oneOf')
    if choices and 'type' not in schema:
        return ' or '.join(dict.fromkeys(_name_type(choice) for choice in choices))
    kinds = schema.get('type', 'any')
    shown = _FORMATS.get(schema.get('format', ''), 'string')
    return ' or '.join(shown if kind == 'string' else kind for kind in ([kinds] if isinstance(kinds, str) else kinds))


_FIELDS = ('Name', 'Type', 'Required', 'Since')


def _render_actions(path: str, controller: type[Any], api: microversion.Api) -> list[str]:
    lines: list[str] = []
    for action, method in list_actions(controller):
        since = f', since {api.minimum.major}.{action.since}' if action.since else ''
        lines += [
            f'``{action.name}`` ({action.status}{since})',
            f'    {_first_line(method)} {_name_rules(action.rules, "whoever has a token")}',
            '',
        ]
        fields = _table(_FIELDS, _list_fields(action.schema, api, f'{action.name}.'))
        sample = samples.render(samples.find_action(action.name, path, takes_anything=not fields))
        lines += [f'    {line}'.rstrip() for line in [*fields, *sample]]
    return lines


def _render_route(route: Any, handler: Any, controller: type[Any], api: microversion.Api, mount: str) -> list[str]:
    title = f'{route.method} {mount}{route.path}'
    lines = [title, '~' * len(title), '', _first_line(handler), '']
    since = [f'Since microversion {api.minimum.major}.{route.since}.'] if route.since else []
    lines += [' '.join([f'Replies with {route.status}.', *since]), '']
    takes_actions = issubclass(controller, ActionController) and route.path.endswith('/action')
    lines += [_name_rules(route.rules, 'that of the action' if takes_actions else 'whoever has a token'), '']
    lines += _table(('Query', *_FIELDS[1:]), _list_fields(route.query, api))
    if takes_actions:
        return lines + _render_actions(route.path, controller, api)
    sample = samples.find(route.method, route.path) if route.body else None
    return lines + _table(_FIELDS, _list_fields(route.body, api)) + list(samples.render(sample))


def _render_api(
    title: str, intro: str, controllers: Iterable[type[Any]], api: microversion.Api, mount: str
) -> list[str]:
    lines = [
        title,
        '=' * len(title),
        '',
        intro,
        '',
        f'Microversions {api.minimum} to {api.maximum}, asked for with the header '
        f'``OpenStack-API-Version: {api.service} {api.maximum}``.',
        '',
    ]
    noun = None
    for route, handler, controller in list_routes(controllers):
        if controller is absent.AbsentController:
            continue
        match = _NOUN.match(route.path)
        if (found := match[1] if match else 'versions') != noun:
            noun = found
            lines += [noun, '-' * len(noun), '']
        lines += _render_route(route, handler, controller, api, mount)
    return lines


def render() -> str:
    """Return the sections of both APIs as reStructuredText."""
    nothing = sorted({route.path.split('/')[1] for route, _, _ in list_routes([absent.AbsentController])})
    lines = [
        *_render_api(
            'Block Storage',
            'Below ``/v3``; a project id may follow, as in older clients.',
            block.CONTROLLERS,
            microversion.BLOCK_STORAGE,
            '/v3',
        ),
        'What this service does not have',
        '-' * 31,
        '',
        'Lists are empty, and whatever else is asked for is not found: '
        + ', '.join(f'``{name}``' for name in nothing)
        + '.',
        '',
        *_render_api(
            'Compute',
            'The part of the Compute API that attaches volumes, for deployments without Nova.',
            compute.CONTROLLERS,
            microversion.COMPUTE,
            '/compute/v2.1',
        ),
    ]
    return '\n'.join(lines).rstrip() + '\n'


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx know the directive."""
    return generated.declare(app, api_reference=render)
