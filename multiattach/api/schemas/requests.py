# SPDX-License-Identifier: Apache-2.0
"""Pieces of JSON Schemas of bodies and queries."""

from collections.abc import Mapping
from typing import Any

from multiattach.domain import bounds

Schema = Mapping[str, Any]
_MAX_INT = 2**31 - 1

UUID: Schema = {'type': 'string', 'format': 'uuid-like'}
UUID_OR_NULL: Schema = {'anyOf': [UUID, {'type': 'null'}]}
TEXT: Schema = {'type': 'string', 'maxLength': 255}
TEXT_OR_NULL: Schema = {'type': ['string', 'null'], 'maxLength': 255}
WORD: Schema = {'type': 'string', 'minLength': 1, 'maxLength': 255}
WORD_OR_NULL: Schema = {'type': ['string', 'null'], 'minLength': 1, 'maxLength': 255}
NAME: Schema = {'type': 'string', 'minLength': 1, 'maxLength': 255, 'format': 'not-blank'}
SIZE: Schema = {'oneOf': [{'type': 'integer', 'minimum': 1, 'maximum': _MAX_INT}, {'type': 'string', 'format': 'size'}]}
# What a boolean may be written as in a body.
BOOLEAN: Schema = {'anyOf': [{'type': 'boolean'}, {'type': 'string', 'format': 'boolean-like'}]}
METADATA: Schema = {
    'type': 'object',
    'additionalProperties': False,
    'maxProperties': bounds.ITEMS,
    'patternProperties': {r'^[a-zA-Z0-9\-_:. /]{1,255}\Z': {'type': 'string', 'maxLength': 255}},
}
EXTRA_SPECS: Schema = {
    'type': 'object',
    'additionalProperties': False,
    'maxProperties': bounds.ITEMS,
    'patternProperties': {r'^[a-zA-Z0-9\-_:.]{1,255}\Z': {'type': ['string', 'null'], 'maxLength': 255}},
}
# As the compute API takes it; a name that is no free /dev/vdX is a wish that is not met.
DEVICE: Schema = {'type': ['string', 'null'], 'maxLength': 255, 'pattern': r'^/dev/x?[a-z]?d?[a-z]+[0-9]*\Z'}
NUMBER_QUERY: Schema = {'type': 'string', 'pattern': r'^[0-9]{0,18}\Z'}
BOOLEAN_QUERY: Schema = {'type': 'string', 'format': 'boolean-like'}
PAGE_QUERY: Schema = {
    'limit': NUMBER_QUERY,
    'offset': NUMBER_QUERY,
    'marker': TEXT,
    'sort': {'type': 'string'},
    'sort_key': {'type': 'string'},
    'sort_dir': {'type': 'string'},
}


def wrap(key: str, inner: Schema, *, others: Schema | None = None, strict: bool = True) -> dict[str, Any]:
    """Make the schema of a body with one key."""
    return {
        'type': 'object',
        'required': [key],
        'additionalProperties': not strict,
        'properties': {key: inner, **(others or {})},
    }


def fields(properties: Schema, *required: str, strict: bool = True, **more: Any) -> dict[str, Any]:
    """Make the schema of an object."""
    return {
        'type': 'object',
        'properties': dict(properties),
        'required': list(required),
        'additionalProperties': not strict,
        **more,
    }


def query(properties: Schema | None = None) -> dict[str, Any]:
    """Make the schema of a list's query; what is not named is a filter, checked by its meaning."""
    return fields({**PAGE_QUERY, **(properties or {})}, strict=False)
