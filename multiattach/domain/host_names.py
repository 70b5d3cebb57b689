# SPDX-License-Identifier: Apache-2.0
"""Names of hosts: what one looks like, and which known ones somebody may have meant."""

import difflib
from collections.abc import Iterable

from multiattach.domain import errors

MAX_LENGTH = 255
# Names that a person is shown; more are no help.
_MOST_NEAR = 5
_CUTOFF = 0.8


def is_valid(name: str) -> bool:
    """Return whether a text has 1 to 255 printable characters, none of them a blank at an end.

    Blanks at its ends are refused and never cut off: what is written into a row, a mark and a question has
    to be one and the same text.
    """
    return 0 < len(name) <= MAX_LENGTH and name == name.strip() and name.isprintable()


def check(name: str) -> None:
    """Refuse a text that can be no host's name.

    :raises InvalidInput: see :func:`is_valid`.
    """
    if not is_valid(name):
        raise errors.InvalidInput(
            f'The name of a host has 1 to {MAX_LENGTH} printable characters, and no blanks at its ends.'
        )


def find_near(name: str, known: Iterable[str]) -> list[str]:
    """Find the known names that somebody may have meant; few, the nearest first.

    Those of the same host in another spelling come first (case, blanks, with or without domain, other separators),
    then those that differ by a few letters.
    """
    others = sorted({one for one in known if one != name})
    same = [one for one in others if _fold(one) == _fold(name) or _shorten(one) == _shorten(name)]
    forms: dict[str, list[str]] = {}
    for one in others:
        for form in {_fold(one), _shorten(one)}:
            forms.setdefault(form, []).append(one)
    alike = [
        one
        for wanted in dict.fromkeys((_fold(name), _shorten(name)))
        for form in difflib.get_close_matches(wanted, forms, _MOST_NEAR, _CUTOFF)
        for one in forms[form]
    ]
    return list(dict.fromkeys(same + alike))[:_MOST_NEAR]


def suggest(near: Iterable[str]) -> str:
    """Ask whether one of some names was meant: a sentence with a blank before it, empty without names."""
    names = ', '.join(near)
    return f' Did you mean {names}?' if names else ''


def _fold(name: str) -> str:
    return name.strip().casefold()


def _shorten(name: str) -> str:
    """Write a name without its domain and its separators; an address is not cut."""
    text = _fold(name)
    first = text.partition('.')[0]
    return (text if first.isdigit() or ':' in text else first).replace('-', '').replace('_', '')
