# SPDX-License-Identifier: Apache-2.0
"""The reference against the code: each route has a rule, each rule's operations are routes."""

import importlib.util
import pathlib

from multiattach import policies
from multiattach.api import blockstorage
from multiattach.api.compute import app as compute
from multiattach.api.controllers import absent

_PATH = pathlib.Path(__file__).resolve().parents[2] / 'tools' / 'api_ref.py'
_SPEC = importlib.util.spec_from_file_location('api_ref', _PATH)
api_ref = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(api_ref)

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
        for route, _, controller in api_ref.list_routes((*blockstorage.CONTROLLERS, *compute.CONTROLLERS))
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


def test_every_route_is_in_the_reference():
    text = api_ref.TARGET.read_text()
    for mount, controllers in (('/v3', blockstorage.CONTROLLERS), ('/compute/v2.1', compute.CONTROLLERS)):
        for route, _, controller in api_ref.list_routes(controllers):
            if controller is absent.AbsentController:
                assert f'``{route.path.split("/")[1]}``' in text
            else:
                assert f'\n{route.method} {mount}{route.path}\n' in text
