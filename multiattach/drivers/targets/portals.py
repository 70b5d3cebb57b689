# SPDX-License-Identifier: Apache-2.0
"""The options that say where iSCSI targets are found."""

from typing import Any

from multiattach import listening
from multiattach.domain import errors


def read(section: str, group: Any) -> tuple[str, str]:
    """Read what hosts are told, and where the target listens; the latter is empty if it is the same.

    :raises ConfigurationError: the message names the option.
    """
    try:
        portal = listening.parse_portal(group.portal)
    except ValueError as exc:
        raise errors.ConfigurationError(f'Option portal in [{section}] {exc}.') from exc
    if listening.is_wildcard(portal.host):
        raise errors.ConfigurationError(
            f'Option portal in [{section}]: hosts are told {portal}, which leads nowhere. Set it to the address at '
            f'which they reach this machine, and listen in [{section}] to {portal}.'
        )
    if not group.listen:
        return str(portal), ''
    try:
        return str(portal), str(listening.parse_portal(group.listen))
    except ValueError as exc:
        raise errors.ConfigurationError(f'Option listen in [{section}] {exc}.') from exc
