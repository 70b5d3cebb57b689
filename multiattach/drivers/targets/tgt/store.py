# SPDX-License-Identifier: Apache-2.0
"""What tgtd opens for a device: a path, or an image of Ceph by its own client (package tgt-rbd, ``usr/bs_rbd.c``).

A backend names an image as QEMU does: ``rbd:POOL/IMAGE:id=USER:conf=FILE``.
"""

import re
from dataclasses import dataclass

from multiattach.drivers.errors import TargetRequestInvalid

_FILE, _RBD = 'rdwr', 'rbd'  # tgtd's kinds
_PREFIX = 'rbd:'
# ":" and "\" mean something to QEMU; ";" and "," to tgtd; the rest to tgt-admin, and to the shell that it starts.
_IMAGE = re.compile(r'[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+')
_OPTION = re.compile(r'(?P<name>id|conf|cluster)=(?P<value>[A-Za-z0-9_./+-]+)')


@dataclass(frozen=True)
class Store:
    """How a logical unit is backed.

    :param options: tgtadm's ``--bsopts``, "" for none.
    """

    path: str
    kind: str
    options: str = ''


def find_store(device: str) -> Store:
    """Tell what is opened for a device.

    :raises TargetRequestInvalid: it is named as an image, and tgtd cannot take the name.
    """
    if not device.startswith(_PREFIX):
        return Store(device, _FILE)
    path, *options = device.removeprefix(_PREFIX).split(':')
    if not _IMAGE.fullmatch(path) or not all(map(_OPTION.fullmatch, options)):
        raise TargetRequestInvalid('the name of the image has characters or options that tgt cannot take')
    return Store(path, _RBD, ';'.join(options))
