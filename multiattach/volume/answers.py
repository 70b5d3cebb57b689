# SPDX-License-Identifier: Apache-2.0
"""What drivers of the storage and of the target raise, told as errors of this service."""

import contextlib
from collections.abc import Callable, Iterator

from multiattach import turns
from multiattach.domain import errors
from multiattach.drivers.errors import DriverError, DriverRefused, StorageUnavailable, TargetFull


def translate(exc: DriverError, refused: str) -> errors.MultiattachError:
    """Return what a caller is told.

    :param refused: what cannot be done, if the driver refused.
    :returns: ``OutcomeUnknown`` where no answer came; ``Unavailable`` where there is no room now.
    """
    if not isinstance(exc, DriverRefused):
        who = 'storage' if isinstance(exc, StorageUnavailable) else 'target'
        return errors.OutcomeUnknown(f'The {who} does not answer: {exc}')
    kind = errors.Unavailable if isinstance(exc, TargetFull) else errors.BackendError
    return kind(f'{refused}: {exc}')


@contextlib.contextmanager
def expect(refused: str, on_refusal: Callable[[DriverRefused], None] | None = None) -> Iterator[None]:
    """Run a step of a driver in the block.

    :param on_refusal: undoes or writes down a step that was refused.
    :raises OutcomeUnknown: no answer came.
    :raises Unavailable: it was refused, as there is no room now.
    :raises BackendError: it was refused.
    """
    try:
        with turns.waiting():
            yield
    except DriverError as exc:
        if isinstance(exc, DriverRefused) and on_refusal is not None:
            on_refusal(exc)
        raise translate(exc, refused) from exc
