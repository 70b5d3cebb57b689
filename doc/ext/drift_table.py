# SPDX-License-Identifier: Apache-2.0
"""The table of drift, made of :mod:`multiattach.domain.drift`."""

from typing import Any

import generated

from multiattach.domain import drift


def _grace(row: drift.Row) -> str:
    if row.action is drift.Action.REPORT and not row.grace:
        return '\\-'
    return f'{row.grace:g} s' + (', also with ``--fix``' if row.is_firm else '') if row.grace else 'none'


def _rows(account: drift.Account) -> str:
    return generated.write_table(
        ('Kind', 'What is seen', 'What it means', 'What is done', 'After', 'What a repair runs'),
        [
            (f'``{row.kind}``', row.seen, row.means, row.action, _grace(row), row.step)
            for row in drift.TABLE.values()
            if row.account is account
        ],
        widths='14 24 26 10 10 30',
    )


def render() -> str:
    """Return a section for each account as reStructuredText."""
    parts = []
    for account in drift.Account:
        title = f'Seen in the {account}' if account is not drift.Account.NOVA else 'Seen in Nova'
        parts.append(f'{title}\n{"-" * len(title)}\n\n{_rows(account)}')
    return '\n'.join(parts)


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx know the directive."""
    return generated.declare(app, drift_table=render)
