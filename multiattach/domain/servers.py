# SPDX-License-Identifier: Apache-2.0
"""What a server's power state is called by the compute API."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Condition:
    """A power state in the compute API's words: ``status``, ``OS-EXT-STS:vm_state`` and ``OS-EXT-STS:power_state``."""

    status: str
    vm_state: str | None
    number: int


_UNKNOWN = Condition('UNKNOWN', None, 0)
# By the power states of drivers.hypervisors.base.Domain.
CONDITIONS: dict[str, Condition] = {
    'running': Condition('ACTIVE', 'active', 1),
    'paused': Condition('PAUSED', 'paused', 3),
    'shutdown': Condition('SHUTOFF', 'stopped', 4),
    'crashed': Condition('ERROR', 'error', 6),
    'suspended': Condition('SUSPENDED', 'suspended', 7),
    'nostate': _UNKNOWN,
}
# Every status of the compute API; most are never seen here, and filtering by them is no error.
STATUSES = frozenset(
    {
        'ACTIVE',
        'BUILD',
        'DELETED',
        'ERROR',
        'HARD_REBOOT',
        'MIGRATING',
        'PASSWORD',
        'PAUSED',
        'REBOOT',
        'REBUILD',
        'RESCUE',
        'RESIZE',
        'REVERT_RESIZE',
        'SHELVED',
        'SHELVED_OFFLOADED',
        'SHUTOFF',
        'SOFT_DELETED',
        'SUSPENDED',
        'UNKNOWN',
        'VERIFY_RESIZE',
    }
)


def describe(power_state: str) -> Condition:
    return CONDITIONS.get(power_state, _UNKNOWN)


def power_states(status: str) -> list[str]:
    """Return the power states that are shown as one status, in whatever case; empty if none is."""
    return [state for state, known in CONDITIONS.items() if known.status == status.upper()]
