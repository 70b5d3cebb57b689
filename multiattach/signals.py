# SPDX-License-Identifier: Apache-2.0
"""What the layers report of themselves; nobody listens unless a program installs a sink.

Any layer may import this module, and of this package only this one: it needs no library. A call
without a sink costs a look at one variable.
"""

from typing import Protocol


class Sink(Protocol):
    """Takes reports."""

    def http(self, route: str, method: str, status: int, seconds: float) -> None:
        """Take a request that was answered.

        :param route: template of its path, without ids.
        :param seconds: until the reply was there.
        """

    def rpc(self, topic: str, method: str, outcome: str, seconds: float) -> None:
        """Take an RPC that was sent.

        :param outcome: ``ok``, ``unknown`` (no answer in time), ``failed`` or ``refused``.
        :param seconds: until the answer, or until the broker had a cast.
        """

    def retried(self) -> None:
        """Take that a database transaction is run again."""

    def taken_over(self, noun: str) -> None:
        """Take that a step was taken over from whoever had it in hand.

        :param noun: ``attachment`` or ``volume``.
        """

    def attempt_failed(self, noun: str) -> None:
        """Take that an attempt at a step ended without a result.

        :param noun: ``attachment`` or ``volume``.
        """

    def drift(self, kind: str, outcome: str) -> None:
        """Take that drift was found, or that something else became of it.

        :param outcome: ``found``, ``repaired``, ``reported``, ``waiting`` or ``failed``.
        """

    def held(self, host: str, number: int) -> None:
        """Take how many repairs wait for a person."""


_sinks: list[Sink] = []


def install(sink: Sink) -> None:
    """Report to a sink from now on, instead of another one.

    :param sink: takes reports; it must be quick and raise nothing.
    """
    _sinks[:] = [sink]


def remove(sink: Sink) -> None:
    """Report to nobody again.

    :param sink: the one that was installed; another one stays.
    """
    if sink in _sinks:
        _sinks.remove(sink)


def http(route: str, method: str, status: int, seconds: float) -> None:
    """Report a request; arguments as :meth:`Sink.http` takes them.

    :param route: template of its path, without ids.
    """
    for sink in _sinks:
        sink.http(route, method, status, seconds)


def rpc(topic: str, method: str, outcome: str, seconds: float) -> None:
    """Report an RPC; arguments as :meth:`Sink.rpc` takes them."""
    for sink in _sinks:
        sink.rpc(topic, method, outcome, seconds)


def retried() -> None:
    """Report that a database transaction is run again."""
    for sink in _sinks:
        sink.retried()


def drift(kind: str, outcome: str) -> None:
    """Report drift; arguments as :meth:`Sink.drift` takes them."""
    for sink in _sinks:
        sink.drift(kind, outcome)


def held(host: str, number: int) -> None:
    """Report repairs that wait for a person; arguments as :meth:`Sink.held` takes them.

    :param number: how many.
    """
    for sink in _sinks:
        sink.held(host, number)


def taken_over(noun: str) -> None:
    """Report that a step was taken over from whoever had it in hand.

    :param noun: ``attachment`` or ``volume``.
    """
    for sink in _sinks:
        sink.taken_over(noun)


def attempt_failed(noun: str) -> None:
    """Report that an attempt at a step ended without a result.

    :param noun: ``attachment`` or ``volume``.
    """
    for sink in _sinks:
        sink.attempt_failed(noun)
