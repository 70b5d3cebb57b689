# SPDX-License-Identifier: Apache-2.0
"""What an extra spec asks of a backend: the operators of Block Storage's scheduler, and of oslo.utils."""

import math
import operator
from collections.abc import Callable, Mapping

from multiattach.domain import errors

_TRUE = frozenset({'true', 't', 'yes', 'y', 'on', '1'})
_FALSE = frozenset({'false', 'f', 'no', 'n', 'off', '0'})
_IS, _IN, _OR, _ALL_IN, _RANGE_IN = '<is>', '<in>', '<or>', '<all-in>', '<range-in>'
# A single "=" has always meant "at least".
_NUMBERS: Mapping[str, Callable[[float, float], bool]] = {
    '=': operator.ge,
    '==': operator.eq,
    '!=': operator.ne,
    '>=': operator.ge,
    '<=': operator.le,
    '>': operator.gt,
    '<': operator.lt,
}
_TEXTS: Mapping[str, Callable[[str, str], bool]] = {
    's==': operator.eq,
    's!=': operator.ne,
    's>=': operator.ge,
    's>': operator.gt,
    's<=': operator.le,
    's<': operator.lt,
    _IN: lambda have, want: want in have,
}
_STARTS = ('<', '>', '=', '!=', 's=', 's!', 's<', 's>')
_BRACKETS: Mapping[str, Callable[[float, float], bool]] = {
    '[': operator.ge,
    '(': operator.gt,
    ']': operator.le,
    ')': operator.lt,
}


def parse_boolean(value: object) -> bool | None:
    """Parse a boolean as extra specs and capabilities have it."""
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


def check_requirement(key: str, wanted: str | None) -> None:
    """Refuse what no capability could ever meet because it is written wrongly.

    :raises InvalidInput: an unknown operator, or operands that do not go with it.
    """
    words = (wanted or '').split()
    if not words or not words[0].startswith(_STARTS):
        return
    known, operands = words[0], words[1:]
    if not _is_complete(known, operands):
        raise errors.InvalidInput(
            f'Extra spec {key}: {str(wanted)[:64]!r} is not understood. There are: <is> BOOLEAN; =, ==, !=, '
            '>=, <=, > or < NUMBER; s==, s!=, s>=, s>, s<=, s< or <in> WORD; <or> WORD <or> WORD; '
            '<all-in> WORD WORD; <range-in> [ NUMBER NUMBER ]; with blanks between.'
        )


def _is_complete(known: str, operands: list[str]) -> bool:
    if known in _NUMBERS:
        return len(operands) == 1 and _parse_number(operands[0]) is not None
    if known == _IS:
        return len(operands) == 1 and parse_boolean(operands[0]) is not None
    if known in _TEXTS:
        return len(operands) == 1
    if known == _OR:
        return len(operands) % 2 == 1 and set(operands[1::2]) <= {_OR} and _OR not in operands[::2]
    if known == _RANGE_IN:
        return (
            len(operands) == 4
            and operands[0] in ('[', '(')
            and operands[3] in (']', ')')
            and None not in map(_parse_number, operands[1:3])
        )
    return known == _ALL_IN and bool(operands)


def is_met(capability: object, wanted: str | None) -> bool:
    """Tell whether a capability is what an extra spec asks for.

    :param capability: what a backend reports; of a list any item will do.
    """
    words = (wanted or '').split()
    if words and words[0] == _ALL_IN:
        have = capability if isinstance(capability, list) else [capability]
        return set(words[1:]) <= set(map(str, have))
    if isinstance(capability, list):
        return any(is_met(item, wanted) for item in capability)
    if wanted is None or capability is None:
        return wanted is None and capability is None
    if not words or not _is_complete(words[0], words[1:]):
        if isinstance(capability, bool):
            return parse_boolean(wanted) is capability
        return str(capability) == wanted
    return _compare(capability, words[0], words[1:])


def _compare(capability: object, known: str, operands: list[str]) -> bool:
    if known == _IS:
        return (parse_boolean(capability) or False) is parse_boolean(operands[0])
    if known in _TEXTS:
        return _TEXTS[known](str(capability), operands[0])
    if known == _OR:
        return str(capability) in operands[::2]
    have = _parse_number(capability)
    if have is None:
        return False
    if known == _RANGE_IN:
        return _BRACKETS[operands[0]](have, float(operands[1])) and _BRACKETS[operands[3]](have, float(operands[2]))
    return _NUMBERS[known](have, float(operands[0]))


def _parse_number(value: object) -> float | None:
    try:
        number = float(str(value)) if not isinstance(value, bool) else None
    except ValueError:
        return None
    return number if number is not None and not math.isnan(number) else None
