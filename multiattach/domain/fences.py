# SPDX-License-Identifier: Apache-2.0
"""What is said of a fenced host."""

import datetime


def explain_mark(host: str, fenced_at: datetime.datetime, reason: str | None) -> str:
    """Return why a fenced host is to have no volume, and how it is let in again; *fenced_at* is UTC."""
    because = f' ({reason})' if reason else ''
    return (
        f'Host {host} is fenced since {fenced_at:%Y-%m-%d %H:%M:%S} UTC{because} and takes no '
        f'volume until "openstack multiattach host unfence {host}".'
    )
