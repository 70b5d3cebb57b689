# SPDX-License-Identifier: Apache-2.0
"""Pieces that several nouns' replies share."""

from collections.abc import Callable, Mapping
from typing import Any

# From the second number of the microversion to the schema; None for an empty reply.
Reply = Callable[[int], Mapping[str, Any]] | None

TEXT: Mapping[str, Any] = {'type': 'string'}
TEXT_OR_NULL: Mapping[str, Any] = {'type': ['string', 'null']}
NULL: Mapping[str, Any] = {'type': 'null'}
FLAG: Mapping[str, Any] = {'type': 'boolean'}
COUNT: Mapping[str, Any] = {'type': 'integer', 'minimum': 0}
LIMIT: Mapping[str, Any] = {'type': 'integer', 'minimum': -1}
UUID: Mapping[str, Any] = {'type': 'string', 'pattern': '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'}
UUID_OR_NULL: Mapping[str, Any] = {'anyOf': [UUID, NULL]}
# ISO 8601, UTC without zone.
_TIME = '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}'
TIME: Mapping[str, Any] = {'type': 'string', 'pattern': f'^{_TIME}$'}
TIME_OR_NULL: Mapping[str, Any] = {'anyOf': [TIME, NULL]}
TIME_OR_EMPTY: Mapping[str, Any] = {'type': 'string', 'pattern': f'^({_TIME})?$'}
TEXTS: Mapping[str, Any] = {'type': 'object', 'additionalProperties': TEXT}


def strict(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make the schema of an object without other keys.

    :param required: schemas of the keys that are always there.
    :param optional: schemas of those that depend on the caller or on the data.
    """
    return {
        'type': 'object',
        'required': list(required),
        'additionalProperties': False,
        'properties': {**required, **(optional or {})},
    }


def many(items: Mapping[str, Any]) -> dict[str, Any]:
    """Make the schema of a list.

    :param items: schema of its items.
    """
    return {'type': 'array', 'items': items}


_LINK = {'rel': TEXT, 'href': {'type': 'string', 'pattern': '^https?://'}}
LINKS: Mapping[str, Any] = {**many(strict(_LINK)), 'minItems': 2, 'maxItems': 2}
# At most one link, to the next page.
NEXT: Mapping[str, Any] = {**many(strict(_LINK | {'rel': {'const': 'next'}})), 'minItems': 1, 'maxItems': 1}


def always(schema: Mapping[str, Any]) -> Reply:
    """Make a reply that is the same at all microversions."""
    return lambda _minor: schema


def one(key: str, schema: Mapping[str, Any]) -> Reply:
    """Make a reply with one key, the same at all microversions."""
    return always(strict({key: schema}))
