# SPDX-License-Identifier: Apache-2.0
"""How a line is added to a timeline that must not grow without end, inside the UPDATE that moves a state.

What is longer than :data:`LIMIT` keeps its first and its last lines; between them a line tells how many
there were. All of it is ASCII, so that a database may count bytes or characters.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import functions

from multiattach.domain import timeline

KEPT = 16 * 1024  # characters at each end, and the rest of a line
LIMIT = 4 * KEPT


class _Position(functions.FunctionElement[int]):
    """Where a text begins in another one, from 1; 0 if it is not there."""

    inherit_cache = True
    name = 'position_of'
    type = sa.Integer()


@compiles(_Position, 'sqlite')
@compiles(_Position, 'mysql')
@compiles(_Position, 'mariadb')
def _compile_instr(element: _Position, compiler: Any, **kwargs: Any) -> str:
    return f'instr({compiler.process(element.clauses, **kwargs)})'


@compiles(_Position, 'postgresql')
def _compile_strpos(element: _Position, compiler: Any, **kwargs: Any) -> str:
    return f'strpos({compiler.process(element.clauses, **kwargs)})'


def append(text: Any, line: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Build a timeline with one more line."""
    return sa.case((sa.func.length(text) < LIMIT, text.concat(line)), else_=_shorten(text).concat(line))


def _shorten(text: Any) -> Any:
    head = _end_of_line(text, sa.literal(KEPT))
    tail = _end_of_line(text, sa.func.length(text) - KEPT)
    middle = sa.func.substr(text, head + 1, tail - head)
    lines = sa.func.length(middle) - sa.func.length(sa.func.replace(middle, '\n', ''))
    start, width = timeline.GAP_START, timeline.GAP_DIGITS
    before = sa.case(
        (
            sa.func.substr(middle, 1, len(start)) == start,
            # Its own line is one of those that go.
            sa.cast(sa.func.substr(middle, len(start) + 1, width), sa.Integer) - 1,
        ),
        else_=0,
    )
    number = sa.cast(lines + before, sa.String(width))
    padded = sa.func.substr(sa.literal('0' * width).concat(number), sa.func.length(number) + 1, width)
    gap = sa.literal(start).concat(padded).concat(sa.literal(timeline.GAP_END))
    return sa.func.substr(text, 1, head).concat(gap).concat(sa.func.substr(text, tail + 1))


def _end_of_line(text: Any, place: Any) -> Any:
    return place + _Position(sa.func.substr(text, place + 1), sa.literal('\n'))
