# SPDX-License-Identifier: Apache-2.0
"""What the layers report of themselves; nobody listens unless a program installs a sink.

Any layer may import this module, and of this package only this one: it needs no library. A call
without a sink costs a look at one variable.
"""

from typing import Protocol


class Sink(Protocol):
    def http(self, route: str, method: str, status: int, seconds: float) -> None:
        """Take a request that was answered."""

    def rpc(self, topic: str, method: str, outcome: str, seconds: float) -> None:
        """Take an RPC that was sent.

        :param outcome: ``ok``, ``unknown`` (no answer in time), ``failed`` or ``refused``.
        :param seconds: until the answer, or until the broker had a cast.
        """

    def retried(self) -> None: ...

    def taken_over(self, noun: str) -> None:
        """Take that a step was taken over from whoever had it in hand; *noun* is ``attachment`` or ``volume``."""

    def attempt_failed(self, noun: str) -> None:
        """Take that an attempt at a step ended without a result; *noun* is ``attachment`` or ``volume``."""

    def drift(self, kind: str, outcome: str) -> None:
        """Take that drift was found, or that something else became of it.

        :param outcome: ``found``, ``repaired``, ``reported``, ``waiting`` or ``failed``.
        """

    def held(self, host: str, number: int) -> None:
        """Take how many repairs wait for a person."""


_sinks: list[Sink] = []


def install(sink: Sink) -> None:
    """Report to a sink, which must be quick and raise nothing, from now on instead of another one."""
    _sinks[:] = [sink]


def remove(sink: Sink) -> None:
    """Report to nobody again, unless another sink was installed since."""
    if sink in _sinks:
        _sinks.remove(sink)


def http(route: str, method: str, status: int, seconds: float) -> None:
    for sink in _sinks:
        sink.http(route, method, status, seconds)


def rpc(topic: str, method: str, outcome: str, seconds: float) -> None:
    for sink in _sinks:
        sink.rpc(topic, method, outcome, seconds)


def retried() -> None:
    for sink in _sinks:
        sink.retried()


def drift(kind: str, outcome: str) -> None:
    for sink in _sinks:
        sink.drift(kind, outcome)


def held(host: str, number: int) -> None:
    for sink in _sinks:
        sink.held(host, number)


def taken_over(noun: str) -> None:
    for sink in _sinks:
        sink.taken_over(noun)


def attempt_failed(noun: str) -> None:
    for sink in _sinks:
        sink.attempt_failed(noun)
