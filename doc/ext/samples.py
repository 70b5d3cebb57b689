# SPDX-License-Identifier: Apache-2.0
"""Samples of requests: those that the tables of the tests send, and that succeed there."""

import functools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

_TABLES = pathlib.Path(__file__).resolve().parents[2] / 'tests' / 'functional'
_METHODS = ('POST', 'PUT')
# What a table takes from an earlier reply is an id.
_TAKEN = re.compile(r'\$(?:HISTORY|RESPONSE|ENVIRON)\b[^"]*')
_IDENT = 'b2d0c7f4-51e9-4a3c-8a77-90c1d3e5f602'
_LONGEST = 500


@functools.cache
def _read() -> tuple[tuple[str, str, Any], ...]:
    """Return method, path and body of each request of the tables that succeeds."""
    return tuple(
        (method, test[method].partition('?')[0], json.loads(_TAKEN.sub(_IDENT, json.dumps(test['data']))))
        for path in sorted(_TABLES.rglob('tables/*.yaml'))
        for test in yaml.safe_load(path.read_text())['tests']
        for method in _METHODS
        if method in test and isinstance(test.get('data'), dict) and str(test.get('status', 200)).startswith('2')
    )


def _choose(bodies: Iterable[Any], *, full: bool = True) -> Any:
    """Return the one that shows most, or least; what a test makes long on purpose shows nothing."""
    texts = sorted((json.dumps(body) for body in bodies), key=len, reverse=full)
    return next((json.loads(text) for text in texts if len(text) < _LONGEST), None)


def find(method: str, path: str) -> Any:
    """Return the sample of a route's body, None if no table has one."""
    pattern = re.compile(re.sub(r'{\w+}', '[^/]+', path) + '$')
    return _choose(body for one, sent, body in _read() if one == method and pattern.search(sent))


def find_action(name: str, path: str, *, takes_anything: bool = False) -> Any:
    """Return the sample of an action's body at a route, None if no table has one."""
    pattern = re.compile(re.sub(r'{\w+}', '[^/]+', path) + '$')
    found = (body for _, sent, body in _read() if pattern.search(sent) and name in body)
    return _choose(found, full=not takes_anything)


def render(body: Any) -> Iterator[str]:
    """Yield the lines of reStructuredText that show a sample."""
    if body is not None:
        yield from ('.. code-block:: json', '')
        yield from (f'   {line}' for line in json.dumps(body, indent=2, ensure_ascii=False).splitlines())
        yield ''
