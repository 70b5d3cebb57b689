# SPDX-License-Identifier: Apache-2.0
"""What the names of storage say: which volumes there are, and what is left of making or removing some."""

import dataclasses
import re
from collections.abc import Iterable

_OWN = re.compile(r'(volume|draft|trash)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[0-9a-f]+)?')


@dataclasses.dataclass(frozen=True)
class Stored:
    """Storage under names of this service, by UUID.

    :param volumes: has the name of a volume.
    :param remnants: is a draft or trash, of a volume or a snapshot.
    """

    volumes: frozenset[str]
    remnants: frozenset[str]


def sort_names(names: Iterable[str], trash: Iterable[str] = ()) -> Stored:
    """Sort names of this service; others are left out.

    :param trash: those that things had before they became trash, where it keeps their names.
    """
    found = [(match[1], match[2]) for match in map(_OWN.fullmatch, names) if match]
    found += [('trash', match[2]) for match in map(_OWN.fullmatch, trash) if match]
    return Stored(
        frozenset(ident for kind, ident in found if kind == 'volume'),
        frozenset(ident for kind, ident in found if kind != 'volume'),
    )
