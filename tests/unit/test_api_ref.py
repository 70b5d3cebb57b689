# SPDX-License-Identifier: Apache-2.0
"""The reference against the code: each route has a rule, each rule's operations are routes."""

import api_ref
import samples

from multiattach import policies
from multiattach.api import microversion
from multiattach.api.actions import ActionController, find_rules, list_actions
from multiattach.api.block import absent, app as block
from multiattach.api.compute import app as compute
from multiattach.policies.rules import RULES

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
    ('GET', '/limits'),  # of the compute endpoint, which has none
}


APIS = ((microversion.BLOCK_STORAGE, block.CONTROLLERS), (microversion.COMPUTE, compute.CONTROLLERS))
CONTROLLERS = (*block.CONTROLLERS, *compute.CONTROLLERS)
NAMES = {name for name, _, _ in RULES}


def test_every_route_names_its_rules():
    nameless = {
        api_ref.shape(route.method, route.path)
        for route, _, controller in api_ref.list_routes(CONTROLLERS)
        if not find_rules(route, controller) and controller is not absent.AbsentController
    }
    assert nameless == OPEN


def test_every_action_names_its_rules():
    for controller in CONTROLLERS:
        assert all(action.rules for action, _ in list_actions(controller))


def test_routes_name_the_rules_that_there_are():
    named = {
        name for route, _, controller in api_ref.list_routes(CONTROLLERS) for name in find_rules(route, controller)
    }
    assert named == NAMES


def test_the_rules_tell_operators_what_they_guard():
    """What the sample and the reference show; the personas guard nothing by themselves."""
    told = {rule.name: getattr(rule, 'operations', None) for rule in policies.list_rules()}
    assert {name for name, operations in told.items() if operations} == NAMES
    assert {'method': 'PUT', 'path': '/attachments/{attachment_id}'} in told['volume:attachment_update']
    assert {'method': 'POST', 'path': '/volumes/{volume_id}/action'} in told['volume:extend']


# Nothing to show: they are refused whatever they say, or have a table that is sent by a program.
_WITHOUT_SAMPLE = {
    'PUT /os-services/failover_host',
    'PUT /os-services/freeze',
    'PUT /os-services/thaw',
    'POST /multiattach/servers/{server_id}/attachments',
}


def test_every_body_has_a_sample_that_its_schema_takes():
    for api, controllers in APIS:
        for route, _, controller in api_ref.list_routes(controllers):
            if controller is absent.AbsentController or not route.body or route.path.endswith('/action'):
                continue
            sample = samples.find(route.method, route.path)
            if sample is not None:
                route.body.check(sample, api.maximum.minor)
            name = f'{route.method} {route.path}'
            assert (sample is None) == (name in _WITHOUT_SAMPLE), name


# What it sets is over in a moment: no table can be sure to meet it.
_PASSING = {'os-update_snapshot_status'}


def find_path(controller):
    return next(route.path for route, _, _ in api_ref.list_routes([controller]) if route.path.endswith('/action'))


def test_every_action_that_does_something_has_a_sample():
    for api, controllers in APIS:
        for controller in controllers:
            for action, method in list_actions(controller) if issubclass(controller, ActionController) else ():
                sample = samples.find_action(action.name, find_path(controller))
                nothing = method.__doc__.startswith('Refuse') or action.name in _PASSING
                assert (sample is None) == nothing, action.name
                if sample is not None:
                    action.schema.check(sample[action.name], api.maximum.minor)
