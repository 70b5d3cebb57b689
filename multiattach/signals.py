# SPDX-License-Identifier: Apache-2.0
"""What the layers report of themselves; nobody listens unless a program installs a sink.

Any layer may import this module, and of this package only this one: it needs no library. Call it as
``signals.sink.rpc(…)``, so that the sink of the moment is asked for.
"""


class Sink:
    """Takes reports, quickly and without raising anything; this one does nothing with them."""

    def http(self, route: str, method: str, status: int, seconds: float) -> None:
        """Take a request; *route* is the template of its path, without ids."""

    def refused(self) -> None:
        """Take that a request was refused because of overload."""

    def rpc(self, topic: str, method: str, outcome: str, seconds: float) -> None:
        """Take an RPC that was sent.

        :param outcome: ``ok``, ``unknown`` (no answer in time), ``failed`` or ``refused``.
        :param seconds: until the answer, or until the broker had a cast.
        """

    def retried(self) -> None:
        """Take that a database transaction is run again."""

    def taken_over(self, noun: str) -> None:
        """Take that a step was taken over from whoever had it in hand; *noun* as in :mod:`multiattach.db.leases`."""

    def attempt_failed(self, noun: str) -> None:
        """Take that an attempt at a step ended without a result; *noun* as in :mod:`multiattach.db.leases`."""

    def drift(self, kind: str, outcome: str) -> None:
        """Take that drift was found, or that something else became of it.

        :param outcome: ``found``, ``repaired``, ``reported``, ``waiting`` or ``failed``.
        """

    def held(self, host: str, number: int) -> None:
        """Take how many repairs wait for a person."""

    def backend(self, host: str, is_up: bool) -> None:
        """Take whether the storage of a backend answered."""

    def ceph(self, call: str, outcome: str, seconds: float) -> None:
        """Take a call to Ceph.

        :param call: what it does, one word.
        :param outcome: ``ok``, ``unknown`` (no answer in time), ``refused``, ``stopped`` (nobody wanted it any more)
            or ``failed``.
        """


sink = Sink()


def install(other: Sink) -> None:
    """Report to another sink from now on."""
    global sink
    sink = other


def remove(other: Sink) -> None:
    """Report to nobody again, unless another sink was installed since."""
    if sink is other:
        install(Sink())
