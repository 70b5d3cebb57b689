# SPDX-License-Identifier: Apache-2.0
"""Pieces of replies' JSON Schemas, strict, for the description and for tests.

Replies are not checked while the service runs.
"""

from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]
# A schema, or what makes one of the second number of the microversion; None for an empty reply.
Reply = Schema | Callable[[int], Schema] | None

TEXT: Schema = {'type': 'string'}
TEXT_OR_NULL: Schema = {'type': ['string', 'null']}
NULL: Schema = {'type': 'null'}
FLAG: Schema = {'type': 'boolean'}
COUNT: Schema = {'type': 'integer', 'minimum': 0}
LIMIT: Schema = {'type': 'integer', 'minimum': -1}
UUID: Schema = {'type': 'string', 'pattern': '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'}
UUID_OR_NULL: Schema = {'anyOf': [UUID, NULL]}
# ISO 8601, UTC without zone.
_TIME = '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}'
TIME: Schema = {'type': 'string', 'pattern': f'^{_TIME}$'}
TIME_OR_NULL: Schema = {'anyOf': [TIME, NULL]}
TIME_OR_EMPTY: Schema = {'type': 'string', 'pattern': f'^({_TIME})?$'}
TEXTS: Schema = {'type': 'object', 'additionalProperties': TEXT}


def strict(required: Schema, optional: Schema | None = None) -> dict[str, Any]:
    """Make the schema of an object without other keys.

    :param optional: schemas of those that depend on the caller or on the data.
    """
    return {
        'type': 'object',
        'required': list(required),
        'additionalProperties': False,
        'properties': {**required, **(optional or {})},
    }


def many(items: Schema) -> dict[str, Any]:
    return {'type': 'array', 'items': items}


_LINK = {'rel': TEXT, 'href': {'type': 'string', 'pattern': '^https?://'}}
LINKS: Schema = {**many(strict(_LINK)), 'minItems': 2, 'maxItems': 2}
# At most one link, to the next page.
NEXT: Schema = {**many(strict(_LINK | {'rel': {'const': 'next'}})), 'minItems': 1, 'maxItems': 1}


def one(key: str, schema: Schema) -> Schema:
    return strict({key: schema})


def page(key: str, item: Schema, *, links: str = '', optional: Schema | None = None) -> Schema:
    """Make the schema of one page of a list."""
    return strict({key: many(item)}, {links or f'{key}_links': NEXT, **(optional or {})})


def at(reply: Reply, minor: int) -> Schema | None:
    return reply(minor) if callable(reply) else reply


# In WebOb's own shape: no route matched, body too large (contract 1.3).
_WEBOB = strict({'code': TEXT, 'message': TEXT, 'title': TEXT})


def error(status: int, key: str) -> Schema:
    """Describe an error (contract 1.3)."""
    fault: dict[str, Any] = {'code': {'const': status}, 'message': {'type': 'string', 'minLength': 1}}
    if status == 413:
        fault['retryAfter'] = TEXT
    schema = one(key, strict(fault))
    if status == 503:  # of an overloaded service
        return {'anyOf': [schema, one(key, strict(fault | {'retryAfter': TEXT}))]}
    return {'anyOf': [schema, _WEBOB]} if status in (404, 413) else schema
