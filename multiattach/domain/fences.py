# SPDX-License-Identifier: Apache-2.0
"""What is said of a fenced host."""

import datetime


def explain_mark(host: str, fenced_at: datetime.datetime, reason: str | None) -> str:
    """Return why a fenced host is to have no volume, and how it is let in again.

    :param fenced_at: since when, UTC.
    :param reason: what the operator said, or None.
    """
    because = f' ({reason})' if reason else ''
    return (
        f'Host {host} is fenced since {fenced_at:%Y-%m-%d %H:%M:%S} UTC{because} and takes no '
        f'volume until "openstack multiattach host unfence {host}".'
    )
