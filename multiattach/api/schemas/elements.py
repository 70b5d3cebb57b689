# SPDX-License-Identifier: Apache-2.0
"""Pieces that several nouns' schemas share."""

from collections.abc import Mapping
from typing import Any

from multiattach.domain import bounds

_MAX_INT = 2**31 - 1

UUID: Mapping[str, Any] = {'type': 'string', 'format': 'uuid-like'}
TEXT_OR_NULL: Mapping[str, Any] = {'type': ['string', 'null'], 'maxLength': 255}
NAME: Mapping[str, Any] = {'type': 'string', 'minLength': 1, 'maxLength': 255, 'format': 'not-blank'}
SIZE: Mapping[str, Any] = {
    'oneOf': [{'type': 'integer', 'minimum': 1, 'maximum': _MAX_INT}, {'type': 'string', 'format': 'size'}]
}
# What a boolean may be written as in a body.
BOOLEAN: Mapping[str, Any] = {'anyOf': [{'type': 'boolean'}, {'type': 'string', 'format': 'boolean-like'}]}
METADATA: Mapping[str, Any] = {
    'type': 'object',
    'additionalProperties': False,
    'maxProperties': bounds.ITEMS,
    'patternProperties': {r'^[a-zA-Z0-9\-_:. /]{1,255}\Z': {'type': 'string', 'maxLength': 255}},
}
EXTRA_SPECS: Mapping[str, Any] = {
    'type': 'object',
    'additionalProperties': False,
    'maxProperties': bounds.ITEMS,
    'patternProperties': {r'^[a-zA-Z0-9\-_:.]{1,255}\Z': {'type': ['string', 'null'], 'maxLength': 255}},
}
NUMBER_QUERY: Mapping[str, Any] = {'type': 'string', 'pattern': r'^[0-9]{0,18}\Z'}
BOOLEAN_QUERY: Mapping[str, Any] = {'type': 'string', 'format': 'boolean-like'}
PAGE_QUERY: Mapping[str, Any] = {
    'limit': NUMBER_QUERY,
    'offset': NUMBER_QUERY,
    'marker': {'type': 'string', 'maxLength': 255},
    'sort': {'type': 'string'},
    'sort_key': {'type': 'string'},
    'sort_dir': {'type': 'string'},
}


def wrap(
    key: str, inner: Mapping[str, Any], *, others: Mapping[str, Any] | None = None, strict: bool = True
) -> dict[str, Any]:
    """Make the schema of a body with one key.

    :param inner: schema of its value.
    :param others: further keys, optional.
    """
    return {
        'type': 'object',
        'required': [key],
        'additionalProperties': not strict,
        'properties': {key: inner, **(others or {})},
    }


def fields(properties: Mapping[str, Any], *required: str, strict: bool = True, **more: Any) -> dict[str, Any]:
    """Make the schema of an object.

    :param properties: schemas by key.
    :param required: keys that must be there.
    :param more: further keywords.
    """
    return {
        'type': 'object',
        'properties': dict(properties),
        'required': list(required),
        'additionalProperties': not strict,
        **more,
    }


def query(properties: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make the schema of a list's query; what is not named is a filter, checked by its meaning.

    :param properties: schemas by key, besides those of paging.
    """
    return fields({**PAGE_QUERY, **(properties or {})}, strict=False)
