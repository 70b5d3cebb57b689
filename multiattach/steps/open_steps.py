# SPDX-License-Identifier: Apache-2.0
"""Steps on volumes, snapshots and migrations that stand still."""

import datetime

from multiattach.db import models
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules, Seen
from multiattach.steps.reconciliation import Reconciliation
from multiattach.steps.watch import Watch


class OpenSteps:
    def __init__(self, side: Reconciliation, rules: DriftRules) -> None:
        self._side = side
        self._rules = rules
        self._watch = Watch()

    def look(self, host: str) -> list[Seen]:
        """List the steps of a backend that nobody has been at for long, or whose percentage has not changed."""
        limit, now = self._rules.stuck_after, models.now()
        rows = self._side.list_open_steps(host, now - datetime.timedelta(seconds=limit))
        held = self._side.find_held([row.ident for row in rows], limit) if rows else set()
        return [
            Seen(
                Drift.STUCK_STEP,
                host,
                row.volume_id,
                None,
                f'{row.state} {row.ident}',
                (now - row.since).total_seconds(),
            )
            for row in rows
            if row.ident not in held
            or (row.percent is not None and self._watch.look(row.ident, (row.state, row.percent)) > limit)
        ]
