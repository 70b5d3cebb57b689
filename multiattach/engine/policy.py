# SPDX-License-Identifier: Apache-2.0
"""Policy is asked after the load, against the loaded object's own project.

May not see: 404. May not do: 403 (contract 7.1).
"""

import time
from typing import Any, Protocol

from oslo_policy import policy

from multiattach.domain import errors
from multiattach.engine.context import RequestContext

_LOOK_INTERVAL = 1.0  # s between two looks at the operator's files
_MOST_VERDICTS = 10_000


class Owned(Protocol):
    """Anything that belongs to a project."""

    @property
    def project_id(self) -> str:
        """UUID of the project."""


class Policy:
    """The rules, asked for a caller and an object."""

    def __init__(self, enforcer: policy.Enforcer) -> None:
        self._enforcer = enforcer
        self._look_again = 0.0
        # A list asks the same for each row, and a client for each request: until the next look.
        self._verdicts: dict[tuple[str, str | None, tuple[Any, ...]], bool] = {}

    def allows(self, ctx: RequestContext, rule: str, project_id: str | None) -> bool:
        """Return whether a rule passes for a caller.

        :param project_id: project of the object; None for objects of no project, where the
            caller's own counts.
        """
        owner = ctx.project if project_id is None else project_id
        now = time.monotonic()
        if now >= self._look_again:
            self.reload()
            self._look_again = now + _LOOK_INTERVAL
        credentials, who = ctx.identify()
        key = (rule, owner, who)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = bool(self._enforcer.authorize(rule, {'project_id': owner}, credentials, do_raise=False))
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[key] = verdict
        return verdict

    def reload(self) -> None:
        """Read the operator's file again if it has changed."""
        self._verdicts = {}
        # With use_conf, oslo.policy looks for files at each question; between these looks it shall not.
        self._enforcer.use_conf = True
        self._enforcer.load_rules()
        self._enforcer.use_conf = False

    def check(self, ctx: RequestContext, rule: str, project_id: str | None = None) -> None:
        """Refuse a caller who may not do something."""
        if not self.allows(ctx, rule, project_id):
            raise errors.NotAuthorized(f"Policy doesn't allow {rule} to be performed.")

    def check_visible(self, ctx: RequestContext, owned: Owned, missing: errors.NotFound) -> None:
        """Refuse a caller of another project as if the object did not exist."""
        if not ctx.is_admin and owned.project_id != ctx.project:
            raise missing
