# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas, compiled once, with the texts of contract 1.3."""

import bisect
from collections.abc import Mapping
from typing import Any

import jsonschema
from oslo_utils import strutils, uuidutils

from multiattach.domain import errors, idents

_MAX_SHOWN = 200
_MAX_SIZE = 2**31 - 1
_FORMATS = jsonschema.FormatChecker(formats=())
_IDENT = 'uuid-like'


@_FORMATS.checks(_IDENT)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(uuidutils.is_uuid_like(value))


@_FORMATS.checks('not-blank')
def _is_not_blank(value: object) -> bool:
    return not isinstance(value, str) or bool(value.strip())


@_FORMATS.checks('boolean-like')
def _is_boolean(value: object) -> bool:
    return not isinstance(value, str) or bool(strutils.is_valid_boolstr(value))


@_FORMATS.checks('boolean-or-none')
def _is_boolean_or_none(value: object) -> bool:
    return _is_boolean(value) or str(value).lower() == 'none'


@_FORMATS.checks('size')
def _is_size(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return value.isascii() and value.isdigit() and len(value) <= 10 and 1 <= int(value) <= _MAX_SIZE


class Schema:
    """A compiled JSON Schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        jsonschema.Draft202012Validator.check_schema(schema)
        self._schema = schema
        self._validator = jsonschema.Draft202012Validator(schema, format_checker=_FORMATS)

    def check(self, value: Any) -> Any:
        """Refuse a value that does not match; return it with ids as the database has them.

        :raises InvalidInput: the first thing that is wrong.
        """
        error = next(self._validator.iter_errors(value), None)
        if error is None:
            return _normalise(self._schema, value)
        text = _cut(error.message)
        if error.path:
            name = error.path[-1]
            text = f'Invalid input for field/attribute {name}. Value: {_cut(str(error.instance))}. {text}'
        raise errors.InvalidInput(text)


class Versioned:
    """Schemas by the minor version from which they hold; the lowest is 0 or the route's first."""

    def __init__(self, schemas: Mapping[int, Mapping[str, Any]]) -> None:
        self._minors = sorted(schemas)
        self._raw = [schemas[minor] for minor in self._minors]
        self._schemas = [Schema(schema) for schema in self._raw]

    def check(self, value: Any, minor: int) -> Any:
        """Refuse a value that does not match the schema of a microversion, see :meth:`Schema.check`."""
        return self._schemas[self._find(minor)].check(value)

    def at(self, minor: int) -> Mapping[str, Any]:
        """Return the schema of a microversion."""
        return self._raw[self._find(minor)]

    def _find(self, minor: int) -> int:
        return max(bisect.bisect_right(self._minors, minor) - 1, 0)


Schemas = Versioned | Mapping[str, Any]


def versioned(schemas: Schemas | None) -> Versioned | None:
    """Compile what a route or an action declares; a schema alone holds at all microversions."""
    return schemas if schemas is None or isinstance(schemas, Versioned) else Versioned({0: schemas})


def flag(values: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """Read what a schema has checked as a boolean, or as one written out."""
    return bool(strutils.bool_from_string(values.get(key, default)))


def _normalise(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a value that matches a schema, with the ids in it written alike."""
    if isinstance(value, str):
        value = idents.normalise(value) if schema.get('format') == _IDENT else value
    elif isinstance(value, dict):
        inner = schema.get('properties', {})
        value = {
            key: _normalise(inner[key], item) if isinstance(inner.get(key), Mapping) else item
            for key, item in value.items()
        }
    for choice in schema.get('anyOf', ()):
        value = _normalise(choice, value)
    return value


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f'{text[:_MAX_SHOWN]}…'
