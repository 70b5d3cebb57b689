# SPDX-License-Identifier: Apache-2.0
"""Paging and sorting of lists: from query parameters to a page, and to the next link."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from multiattach.api.elements import base_url
from multiattach.api.request import Request
from multiattach.api.settings import ApiSettings
from multiattach.db.paging import Page
from multiattach.domain import errors, idents

# Query parameters of lists that are no filters.
PARAMETERS = frozenset({'limit', 'marker', 'offset', 'sort', 'sort_key', 'sort_dir', 'with_count', 'all_tenants'})
Row = TypeVar('Row')
_DIRECTIONS = ('asc', 'desc')
_MAX_OFFSET = 2**63 - 1


def parse_page(query: Mapping[str, str], settings: ApiSettings, columns: Mapping[str, str]) -> Page:
    """Parse limit, marker, offset and sort.

    :param columns: sort keys that clients may use, with the column of each.
    :raises InvalidInput: a number that is none, an unknown sort key or direction, or both
        styles of sorting at once (contract 2.6).
    """
    limit = _parse_number(query, 'limit', settings.max_limit)
    offset = _parse_number(query, 'offset', 0)
    marker = idents.normalise(query.get('marker', '')) or None
    return Page(limit=min(limit, settings.max_limit), marker=marker, offset=offset, sort=parse_sort(query, columns))


def sort_by_age(page: Page) -> Page:
    """Return a page in the order of old lists, oldest first."""
    return dataclasses.replace(page, sort=(('created_at', 'asc'), ('id', 'asc')))


def with_marker(page: Page, marker: str | None) -> Page:
    """Return a page with a marker that is no id."""
    return dataclasses.replace(page, marker=marker or None)


def parse_sort(query: Mapping[str, str], columns: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Parse ``sort``, or ``sort_key`` and ``sort_dir``.

    :param columns: sort keys that clients may use, with the column of each.
    :returns: pairs of column and direction; ``created_at`` and ``id``, newest first, by default.
    :raises InvalidInput: an unknown key or direction, a column twice, or both styles at once.
    """
    old_style = 'sort_key' in query or 'sort_dir' in query
    if query.get('sort'):
        if old_style:
            raise errors.InvalidInput(
                'The "sort_key" and "sort_dir" parameters are deprecated and cannot be used with the "sort" parameter.'
            )
        wanted = [piece.strip().partition(':') for piece in query['sort'].split(',') if piece.strip()]
        pairs = [(key, direction or 'desc') for key, _, direction in wanted]
    elif old_style:
        pairs = [(query.get('sort_key') or 'created_at', query.get('sort_dir') or 'desc')]
    else:
        pairs = []
    if not pairs:
        pairs = [('created_at', 'desc'), ('id', 'desc')]
    sort: dict[str, str] = {}
    for key, direction in pairs:
        column = _find_column(key, columns)
        if column in sort:  # would only make the statement longer
            raise errors.InvalidInput(f'Sort key {key} is given more than once.')
        sort[column] = _check_direction(direction)
    return tuple(sort.items())


def _find_column(key: str, columns: Mapping[str, str]) -> str:
    column = columns.get(key)
    if column is None:
        raise errors.InvalidInput(f'Sort key {key[:64]} is invalid; it must be one of {", ".join(sorted(columns))}.')
    return column


def _check_direction(direction: str) -> str:
    if direction not in _DIRECTIONS:
        raise errors.InvalidInput(f'Sort direction {direction[:64]} is invalid; it must be asc or desc.')
    return direction


def _parse_number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > _MAX_OFFSET:
        raise errors.InvalidInput(f'{name} param must be an integer of 0 or more.')
    return int(text)


def filters(query: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in query.items() if key not in PARAMETERS}


def reply(
    req: Request,
    settings: ApiSettings,
    page: Page,
    rows: Sequence[Row],
    key: str,
    show: Callable[[Row], Mapping[str, Any]],
    *,
    links: str = '',
) -> dict[str, Any]:
    """Return the body of a list: a page of rows, and the link to the next one if there may be one."""
    after = next_link(req, settings, rows, page)
    return {key: [show(row) for row in rows]} | ({links or f'{key}_links': after} if after else {})


def next_link(req: Request, settings: ApiSettings, rows: Sequence[Any], page: Page) -> list[dict[str, str]]:
    """Return the link to the next page, if this one is full."""
    if not rows or len(rows) < page.limit:
        return []
    query = {**req.query, 'marker': rows[-1].id}
    query.pop('offset', None)  # the marker replaces it
    return [{'rel': 'next', 'href': f'{collection_url(req, settings)}?{urlencode(query)}'}]


def collection_url(req: Request, settings: ApiSettings) -> str:
    """Return the URL of the request as clients see it, without query."""
    return f'{base_url(req, settings)}{req.own_path}'
