# SPDX-License-Identifier: Apache-2.0
"""How far a database has come: a counter that only grows, told beside the targets as well."""

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True)
class Mark:
    """A moment in the life of a database.

    :param lineage: id of the database, which its copies share.
    :param counter: grows with each count.
    """

    lineage: str
    counter: int

    def is_ahead_of(self, other: 'Mark') -> bool:
        """Tell whether a database at the other mark lacks what one at this mark had.

        :param other: mark of the database that is there.
        :returns: also for another lineage, of which nothing is known.
        """
        return self.lineage != other.lineage or self.counter > other.counter


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A database that is not the newest one of a backend's targets, as far as is known.

    :param since: when it was noticed, UTC.
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
        """Name it in a few words.

        :returns: for a finding.
        """
        seen = 'another database' if self.is_other else self.seen.counter
        return f'count {self.here.counter}, {seen} at the targets'

    def tell(self) -> str:
        """Say it.

        :returns: text for people.
        """
        how = (
            'is another one than that of'
            if self.is_other
            else f'is an older copy (count {self.here.counter}, {self.seen.counter} at the targets) of that of'
        )
        return (
            f'The database {how} the targets of {self.backend}, seen {self.since:%Y-%m-%d %H:%M:%S} UTC. '
            f'Put the newest one back, or accept this one: multiattach-manage db accept {self.backend}'
        )
