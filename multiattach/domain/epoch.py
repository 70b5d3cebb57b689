# SPDX-License-Identifier: Apache-2.0
"""How far a database has come: a counter that only grows, told beside the targets as well."""

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True)
class Mark:
    """A moment in the life of a database.

    :param lineage: id of the database, which its copies share.
    """

    lineage: str
    counter: int

    def is_ahead_of(self, other: 'Mark') -> bool:
        """Return whether the other database lacks what this one had; also True for another lineage."""
        return self.lineage != other.lineage or self.counter > other.counter


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A database that is not the newest one of a backend's targets, as far as is known.

    :param here: where the database stands.
    :param seen: where it stood when the targets were written.
    """

    backend: str
    since: datetime.datetime
    here: Mark
    seen: Mark

    @property
    def is_other(self) -> bool:
        """Whether it is another database, and no copy of this one."""
        return self.seen.lineage != self.here.lineage

    def describe(self) -> str:
        seen = 'another database' if self.is_other else self.seen.counter
        return f'count {self.here.counter}, {seen} at the targets'

    def tell(self) -> str:
        how = (
            'is another one than that of'
            if self.is_other
            else f'is an older copy (count {self.here.counter}, {self.seen.counter} at the targets) of that of'
        )
        return (
            f'The database {how} the targets of {self.backend}, seen {self.since:%Y-%m-%d %H:%M:%S} UTC. '
            f'Put the newest one back, or accept this one: multiattach-manage db accept {self.backend}'
        )
