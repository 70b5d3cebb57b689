# SPDX-License-Identifier: Apache-2.0
"""Portals of iSCSI targets."""

import socket
import time
from collections.abc import Mapping
from typing import Any

from multiattach import backoff
from multiattach.drivers.errors import ConnectorError

ISCSI_PORT = 3260  # RFC 3720 section 13
_PAUSE = 0.25
_ONE_OF_SEVERAL = 2.0  # s


def split_portal(portal: str) -> tuple[str, int]:
    """Split a portal into its address, without brackets, and port.

    :param portal: ``address:port``, ``[address]:port`` or without port; what follows a comma
        (the portal group) is left out.
    :raises ConnectorError: it is no portal.
    """
    text = portal.split(',')[0].strip()
    address, colon, port = text.rpartition(':')
    if not colon or text.endswith(']'):
        address, port = text, str(ISCSI_PORT)
    address = address.removeprefix('[').removesuffix(']')
    if not address or not port.isdecimal():
        raise ConnectorError(f'The target portal "{portal}" is not of the form ADDRESS:PORT.')
    return address, int(port)


def await_portal(portal: str, timeout: float) -> None:
    """Wait until something listens at a portal; a target may just be starting again.

    Initiators take minutes to find out that nobody listens (open-iscsi about 400 s).

    :raises ConnectorError: nothing listens there.
    """
    address = split_portal(portal)
    end = time.monotonic() + timeout
    failure = backoff.poll(
        lambda: _try_portal(address, max(end - time.monotonic(), _PAUSE)),
        lambda seen: seen is None,
        timeout,
        first=_PAUSE,
        most=_PAUSE,
    )
    if failure is not None:
        raise ConnectorError(
            f'Nothing answers at the target portal {portal} within {timeout:g} s ({failure.strerror or failure}).'
        ) from failure


def choose_portal(connection_info: Mapping[str, Any], timeout: float) -> str:
    """Choose the first portal of a connection_info at which something listens; wait if there is none.

    :param timeout: seconds.
    :raises ConnectorError: nothing listens at any.
    """
    first = str(connection_info.get('target_portal', ''))
    portals = list(dict.fromkeys([first, *connection_info.get('target_portals', ())]))
    for portal in portals if len(portals) > 1 else ():
        if _try_portal(split_portal(portal), _ONE_OF_SEVERAL) is None:
            return str(portal)
    await_portal(first, timeout)
    return first


def _try_portal(address: tuple[str, int], timeout: float) -> OSError | None:
    try:
        with socket.create_connection(address, timeout=timeout):
            return None
    except OSError as exc:
        return exc
