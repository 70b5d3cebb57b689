# SPDX-License-Identifier: Apache-2.0
"""The access mode of an attachment: one source of truth (contract 2.8, 11.4 numbers 11, 12)."""

READ_WRITE = 'rw'
READ_ONLY = 'ro'


def decide_mode(requested: str | None, connector_mode: str | None, readonly: bool) -> str:
    """Decide how an attachment may use the volume.

    :param requested: ``mode`` of the create request, or None.
    :param connector_mode: ``mode`` inside the connector, or None.
    :param readonly: the volume is flagged read-only.
    :returns: ``ro`` if any of them asks for it, else ``rw``.
    """
    if readonly or requested == READ_ONLY:
        return READ_ONLY
    return requested or connector_mode or READ_WRITE
