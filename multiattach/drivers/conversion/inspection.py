# SPDX-License-Identifier: Apache-2.0
"""What is in an image, seen before any program follows what it says.

A format may name other files, which a program that converts it would open with the rights of this service.
"""

from typing import IO

from oslo_utils.imageutils import format_inspector

from multiattach.domain.images import FORMATS, RAW
from multiattach.drivers.errors import ImageRefused

_PIECE = 64 << 10
# What a disk without a format of its own may look like: it has partitions, or it is a CD.
_PLAIN = frozenset({'raw', 'gpt', 'iso'})


def inspect(image_id: str, file: IO[bytes], disk_format: str) -> int:
    """See that an image is of the format that it claims, and refers to nothing outside of itself.

    :param file: its data; only their beginning is read where that is enough.
    :returns: bytes of the disk; 0 where its own length is its size.
    :raises ImageRefused: it is not, or does.
    """
    found = _detect(image_id, file)
    names = sorted(str(one) for one in found)
    if FORMATS[disk_format] == RAW:
        if not _PLAIN.issuperset(names):
            raise _refuse(image_id, f'it is said to be {disk_format}, but its data are in format {", ".join(names)}')
        return 0
    if names != [disk_format]:
        raise _refuse(image_id, f'it is said to be {disk_format}, but its data are in format {", ".join(names)}')
    try:
        found[0].safety_check()
    except format_inspector.SafetyCheckFailed as exc:
        raise _refuse(image_id, '; '.join(f'{name}: {text}' for name, text in sorted(exc.failures.items()))) from exc
    size: int = found[0].virtual_size
    if not size:
        raise _refuse(image_id, 'it does not say how large its disk is')
    return size


def _detect(image_id: str, file: IO[bytes]) -> list[format_inspector.FileInspector]:
    wrapper = format_inspector.InspectWrapper(_Open(file))  # type: ignore[arg-type]
    try:
        while not wrapper.formats and wrapper.read(_PIECE):
            pass
        wrapper.close()
        return list(wrapper.formats or ())
    except format_inspector.ImageFormatError as exc:
        raise _refuse(image_id, str(exc)) from exc


class _Open:
    """A file that its reader does not close."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read


def _refuse(image_id: str, reason: str) -> ImageRefused:
    return ImageRefused(f'Image {image_id} is unacceptable: {reason}.')
