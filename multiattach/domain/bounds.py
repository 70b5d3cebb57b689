# SPDX-License-Identifier: Apache-2.0
"""How many of a kind a client may send: what is written is read by everybody, a condition by the database."""

from collections.abc import Sized

from multiattach.domain import errors

ITEMS = 128  # keys of a volume's metadata, of a type's extra specs, of QoS specs
CONDITIONS = 8  # comparisons of a time, keys of a filter


def check_items(items: Sized, noun: str) -> None:
    """Refuse more keys (of what *noun* names) than anything may have.

    :raises InvalidInput: too many.
    """
    if len(items) > ITEMS:
        raise errors.InvalidInput(f'There would be {len(items)} {noun}; at most {ITEMS} are allowed.')


def check_conditions(conditions: Sized, noun: str) -> None:
    """Refuse a filter of more conditions than a list is to be asked for.

    :raises InvalidInput: too many.
    """
    if len(conditions) > CONDITIONS:
        raise errors.InvalidInput(f'A filter has {len(conditions)} {noun}; at most {CONDITIONS} are allowed.')
