# SPDX-License-Identifier: Apache-2.0
"""The reference against the code: each route has a rule, each rule's operations are routes."""

import api_ref

from multiattach import policies
from multiattach.api.block import absent
from multiattach.api.block import app as block
from multiattach.api.compute import app as compute

# What tells nothing of anybody: whoever has a token may read it, for discovery without one.
OPEN = {
    ('GET', ''),
    ('GET', '/'),
    ('GET', '/extensions'),
    ('GET', '/extensions/{}'),
    ('GET', '/resource_filters'),
    ('GET', '/flavors'),
    ('GET', '/flavors/detail'),
    ('GET', '/flavors/{}'),
}


def routes():
    return {
        api_ref.shape(route.method, route.path): controller
        for route, _, controller in api_ref.list_routes((*block.CONTROLLERS, *compute.CONTROLLERS))
    }


def test_every_route_names_its_rule():
    known = api_ref.list_rules()
    nameless = {
        found
        for found, controller in routes().items()
        if found not in known and controller is not absent.AbsentController
    }
    assert nameless == OPEN


def test_every_operation_of_a_rule_is_a_route():
    assert set(api_ref.list_rules()) <= set(routes())


def test_every_rule_but_the_personas_guards_something():
    used = {name for names in api_ref.list_rules().values() for name in names}
    bases = {rule.name for rule in policies.list_rules() if not hasattr(rule, 'operations')}
    assert {rule.name for rule in policies.list_rules()} - bases == used
