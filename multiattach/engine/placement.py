# SPDX-License-Identifier: Apache-2.0
"""Which backend gets a volume: pure choice among what the backends report."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from multiattach.domain import extra_specs


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A volume backend as its worker reports it.

    :param total_gb: capacity in GiB, None for unknown or unlimited.
    :param free_gb: free space in GiB, None for unknown or unlimited.
    :param allocated_gb: GiB promised to volumes.
    :param max_over_subscription: how many times the capacity may be promised.
    """

    host: str
    zone: str
    service_uuid: str
    is_up: bool
    is_enabled: bool
    total_gb: float | None
    free_gb: float | None
    allocated_gb: float
    max_over_subscription: float
    capabilities: Mapping[str, Any]
    #: what snapshots it takes, as :meth:`multiattach.volume.worker.VolumeWorker.report` says; None for none
    snapshots: Mapping[str, Any] | None = None
    #: its storage did, at the last heartbeat; workers of the release before do not say
    is_answering: bool = True
    #: names of the backends whose volumes can come here
    reads: frozenset[str] = frozenset()
    #: volumes can be made of images there; workers of the release before do not say, and cannot
    takes_images: bool = False
    #: all of a volume's room is taken when it is made; snapshots, and what is being wiped, take theirs, too
    is_thick: bool = False

    def fits(self, specs: Mapping[str, str | None]) -> bool:
        """Return whether a backend has what a type's extra specs ask for, in a zone that they allow."""
        return extra_specs.is_satisfied(specs, self.capabilities) and extra_specs.is_allowed(specs, self.zone)

    @property
    def room_gb(self) -> float:
        """GiB that may still be promised."""
        if self.total_gb is None or self.free_gb is None:
            return float('inf')
        if self.is_thick:
            # Volumes that the worker was told of since its heartbeat are in the one, all other storage in the other.
            return min(self.total_gb - self.allocated_gb, self.free_gb)
        return self.total_gb * self.max_over_subscription - self.allocated_gb


@dataclasses.dataclass(frozen=True)
class Requirements:
    size_gb: int
    zone: str | None
    specs: Mapping[str, str | None]
    of_image: bool = False


@dataclasses.dataclass(frozen=True)
class Choice:
    """The backend, or the reason, for the user, why there is none."""

    backend: Candidate | None
    reason: str = ''


def choose(wish: Requirements, backends: Iterable[Candidate]) -> Choice:
    """Choose the backend with the most room among those that fit; else name the first condition that nobody met."""
    left = list(backends)
    steps: tuple[tuple[str, Any], ...] = (
        ('No volume backend is up and enabled.', lambda b: b.is_up and b.is_enabled),
        (f'No volume backend in availability zone {wish.zone}.', lambda b: wish.zone is None or b.zone == wish.zone),
        (
            f'No volume backend has what the volume type asks for ({describe(wish.specs)}).',
            lambda b: b.fits(wish.specs),
        ),
        ('No volume backend can copy images.', lambda b: b.takes_images or not wish.of_image),
        ('No volume backend has storage that answers.', lambda b: b.is_answering),
        (f'No volume backend has room for {wish.size_gb} GiB.', lambda b: b.room_gb >= wish.size_gb),
    )
    for reason, fits in steps:
        left = [backend for backend in left if fits(backend)]
        if not left:
            return Choice(None, reason)
    return Choice(max(left, key=lambda b: (b.room_gb, b.host)))


def describe(specs: Mapping[str, str | None]) -> str:
    """Write the extra specs that users may know as ``key=value`` pairs."""
    return (
        ', '.join(f'{k}={v}' for k, v in sorted(specs.items()) if k in extra_specs.PUBLIC_SPECS) or 'other extra specs'
    )
