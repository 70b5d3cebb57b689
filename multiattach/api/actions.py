# SPDX-License-Identifier: Apache-2.0
"""Actions: one URL, one key in the body that names what is to be done (contract 1.3, 6)."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pecan

from multiattach.api import faults, routing
from multiattach.api.request import ACTION, Request
from multiattach.api.schemas.replies import Reply
from multiattach.api.settings import ApiSettings
from multiattach.api.validation import Schemas, Versioned, versioned
from multiattach.domain import errors
from multiattach.engine.assembly import Engine

# The body of the URL; what the one key holds is checked by its action's own schema.
ANY_BODY = Versioned({0: {}})


@dataclasses.dataclass(frozen=True)
class ActionHandler:
    """What :func:`action` says of a method; arguments as there."""

    name: str
    schema: Versioned
    since: int
    status: int
    reply: Reply
    rules: tuple[str, ...]


def action(
    name: str,
    schema: Schemas = ANY_BODY,
    *,
    since: int = 0,
    status: int = 202,
    reply: Reply = None,
    rules: tuple[str, ...] = (),
) -> Callable[[routing.Handler], routing.Handler]:
    """Mark a controller's method as an action.

    The method gets the request, the path's wildcards and the value of the action's key.

    :param reply: as in :func:`multiattach.api.routing.route`.
    """
    checked = versioned(schema)
    assert checked is not None

    def decorate(handler: routing.Handler) -> routing.Handler:
        handler.action = ActionHandler(name, checked, since, status, reply, rules)  # type: ignore[attr-defined]
        return handler

    return decorate


def list_actions(controller: type[routing.Controller]) -> list[tuple[ActionHandler, routing.Handler]]:
    """Return the actions of a controller, by name."""
    members = inspect.getmembers(controller, lambda member: hasattr(member, 'action'))
    return sorted(((member.action, member) for _, member in members), key=lambda pair: pair[0].name)


def find_rules(route: routing.Route, controller: type[routing.Controller]) -> tuple[str, ...]:
    """Return the policy rules that a route asks, its actions' included."""
    actions = list_actions(controller) if route.path.endswith('/action') else []
    return tuple(dict.fromkeys((*route.rules, *(rule for found, _ in actions for rule in found.rules))))


class ActionController(routing.Controller):
    """A controller whose methods marked with :func:`action` share one URL."""

    def __init__(self, engine: Engine, settings: ApiSettings) -> None:
        super().__init__(engine, settings)
        self._actions: dict[str, tuple[ActionHandler, routing.Handler]] = {
            method.action.name: (method.action, method)
            for _, method in inspect.getmembers(self, lambda member: hasattr(member, 'action'))
        }

    def run(self, req: Request, body: Any, *args: str) -> pecan.Response:
        """Carry out the action that a body names.

        :raises Malformed: not exactly one key.
        :raises NoSuchMethod: the action exists from a later microversion only.
        """
        if not isinstance(body, dict) or len(body) != 1:
            raise faults.Malformed
        ((name, value),) = body.items()
        if name not in self._actions:
            raise errors.InvalidInput(f'There is no such action: {name[:64]}.')
        found, method = self._actions[name]
        req.environ[ACTION] = name
        if found.since > req.minor:
            raise faults.NoSuchMethod
        value = found.schema.check(value, req.minor)
        return routing.make_reply(found.status, method(req, *args, value))
