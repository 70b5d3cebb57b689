# SPDX-License-Identifier: Apache-2.0
"""What drivers raise: either "it was refused, nothing is in doubt", or "no answer came".

After the latter the step is repeated: every step is idempotent. No message holds a secret.
"""

from multiattach.domain import errors


class DriverError(Exception):
    """Base of what drivers raise; other exceptions are bugs."""


class DriverRefused(DriverError):
    """A step was refused; the state is known, and the message says why."""


class DriverUnavailable(DriverError):
    """No answer came: whether the step was done, or still goes on, is unknown."""


class StorageError(DriverRefused):
    """A storage backend refused for good."""


class StorageUnavailable(DriverUnavailable):
    """The storage did not answer."""


class CopyAborted(DriverError):
    """Whoever asked for a copy does not want it now; what there is of it is made anew, or deleted."""


class ClearAborted(DriverError):
    """Trash was not removed now; whoever serves the backend does it later."""


class ImageRefused(DriverRefused, errors.InvalidInput):
    """The Image service refused, or the image is not what it should be."""


class ImageNotFound(DriverRefused, errors.NotFound):
    """There is no such image, or none that the caller may see."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f'Image {image_id} could not be found.')
        self.args = (image_id,)


class ImageUnavailable(DriverUnavailable, errors.Unavailable):
    """The Image service did not answer, or broke off."""


class TargetError(DriverRefused):
    """The target refused a step."""


class TargetBusy(TargetError):
    """A command or a session does not end; nothing was done, and it may be tried again."""


class TargetFull(TargetError):
    """There is no room to write down what is to be exported; nothing was done."""


class TargetRequestInvalid(TargetError, ValueError):
    """A value cannot be given to the target; nothing was sent."""


class TargetUnavailable(DriverUnavailable):
    """The target did not answer; *delivered* is False when the request surely never reached it."""

    def __init__(self, message: str, *, delivered: bool = True) -> None:
        super().__init__(message)
        self.delivered = delivered


class ConnectorError(DriverRefused, errors.HostError):
    """The host could not connect or disconnect."""


class WrongDevice(ConnectorError):
    """A device is not the volume that it should be; it must not be used."""


class ConnectorTimeout(DriverUnavailable, errors.OutcomeUnknown):
    """The step took longer than it may; it may still be going on."""


class HypervisorError(DriverRefused, errors.HostError):
    """The hypervisor refused a step."""


class DomainNotFound(HypervisorError):
    """The hypervisor has no such server (any more)."""


class DetachRefused(HypervisorError):
    """The guest did not let go of the device in time: it has it as before."""


class HypervisorUnavailable(DriverUnavailable, errors.Unavailable):
    """The hypervisor does not answer."""
