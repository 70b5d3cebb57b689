# SPDX-License-Identifier: Apache-2.0
"""What is taken over from Cinder: items, each with the rows that it is here, and what stands in the way of others."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any


class Kind(enum.StrEnum):
    """What an item is, in the order in which items are imported: none needs one of a later kind."""

    QOS = 'qos-specs'
    TYPE = 'volume-type'
    DEFAULT_TYPE = 'default-type'
    QUOTA = 'quota'
    VOLUME = 'volume'
    ATTACHMENT = 'attachment'
    SNAPSHOT = 'snapshot'


Row = Mapping[str, Any]
# The type that each service makes for itself; of two that nobody asked for, the one with volumes stays.
OWN_TYPE = '__DEFAULT__'


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing that is imported as a whole, or not.

    :param ident: its UUID; of quotas ``project/ID`` or ``class/NAME``, of a default type the project.
    :param rows: by table, the item's own table first.
    """

    kind: Kind
    ident: str
    rows: Mapping[str, Sequence[Row]] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Why something of Cinder cannot be imported.

    :param kind: what it is, in words of :class:`Kind` or others.
    :param reason: what is in the way.
    :param remedy: what an operator can do about it.
    """

    kind: str
    ident: str
    project_id: str | None
    name: str | None
    reason: str
    remedy: str
