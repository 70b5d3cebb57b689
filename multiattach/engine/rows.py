# SPDX-License-Identifier: Apache-2.0
"""The rows that use cases return, for those above who show them."""

from multiattach.db.models import (
    Attachment,
    DefaultType,
    FencedHost,
    Message,
    QosSpecs,
    Server,
    Service,
    TypeEncryption,
    Volume,
    VolumeType,
)

__all__ = [
    'Attachment',
    'DefaultType',
    'FencedHost',
    'Message',
    'QosSpecs',
    'Server',
    'Service',
    'TypeEncryption',
    'Volume',
    'VolumeType',
]
