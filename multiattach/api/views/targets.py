# SPDX-License-Identifier: Apache-2.0
"""What targets look like; account names, never secrets."""

from typing import Any

from multiattach.engine.targets import ComparedTarget


def show(target: ComparedTarget) -> dict[str, Any]:
    """Show a target next to what is recorded of its volume."""
    shown = target.shown
    return {
        'volume_id': target.volume_id,
        'host': target.backend,
        'exists': shown is not None,
        'iqn': None if shown is None else shown['iqn'],
        'luns': [] if shown is None else shown['luns'],
        'initiators': [] if shown is None else shown['initiators'],
        'accounts': [] if shown is None else shown['accounts'],
        'sessions': [] if shown is None else shown['sessions'],
        'recorded': None
        if target.recorded is None
        else [{'initiator': row.initiator, 'state': row.state, 'account': row.account} for row in target.recorded],
        'differences': [{'kind': str(one.kind), 'about': one.about, 'text': one.text} for one in target.differences],
    }
