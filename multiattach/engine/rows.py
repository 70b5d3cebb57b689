# SPDX-License-Identifier: Apache-2.0
"""The rows that use cases return, for those above who show them."""

from multiattach.db.models import Attachment, Message, Server, Service, Volume, VolumeType

__all__ = ['Attachment', 'Message', 'Server', 'Service', 'Volume', 'VolumeType']
