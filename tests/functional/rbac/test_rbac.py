# SPDX-License-Identifier: Apache-2.0
"""The table, tried: each persona makes each call, on things that are made for it."""

import contextlib
import functools
import inspect
import json
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import webob

from multiattach.api import actions, deploy, routing
from multiattach.api.block import app as block
from multiattach.api.block.volumes.views import HOST_RULE, MIGRATION_RULE, TENANT_RULE
from multiattach.api.compute import app as compute_app
from multiattach.db import messages
from multiattach.db.paging import Page
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.snapshots import SnapshotWish
from tests import contexts
from tests.deployments import embedded
from tests.functional.compute import compute_host
from tests.functional.compute.compute_host import ComputeHost
from tests.functional.personas import Personas
from tests.functional.rbac import table
from tests.functional.rbac.table import PERSONAS, Call

PROJECTS = {'mine': compute_host.PROJECT, 'foreign': compute_host.OTHER_PROJECT, 'services': 'c' * 32}
_PLACE = re.compile(r'{(\w+)}')


def list_calls(controllers: Iterable[Any]) -> set[str]:
    """Name every call that an application serves, wildcards without their names."""
    calls = set()
    for controller in controllers:
        members = [member for _, member in inspect.getmembers(controller)]
        actions = [member.action.name for member in members if hasattr(member, 'action')]
        for member in members:
            if hasattr(member, 'route'):
                path = '/' + '/'.join(member.route.segments)
                names = [f' {name}' for name in actions] if path.endswith('/action') else ['']
                calls |= {f'{member.route.method} {path}{name}' for name in names}
    return {_PLACE.sub('{}', call) for call in calls}


@pytest.mark.parametrize(
    ('controllers', 'rows'), [(block.CONTROLLERS, table.BLOCK_STORAGE), (compute_app.CONTROLLERS, table.COMPUTE)]
)
def test_every_call_has_a_row(controllers: Iterable[Any], rows: tuple[Call, ...]) -> None:
    assert {_PLACE.sub('{}', row.name) for row in rows} == list_calls(controllers)


class Asked:
    """What each call asks the policy, between what the routes declare and what the use cases do.

    :param policy: of the engine.
    """

    def __init__(self, policy: Policy) -> None:
        self.of_call: dict[str, set[str]] = {}
        self._now: set[str] = set()
        answer = policy.allows

        def allows(ctx: RequestContext, rule: str, project_id: str | None) -> bool:
            self._now.add(rule)
            return answer(ctx, rule, project_id)

        policy.allows = allows  # type: ignore[method-assign]

    @contextlib.contextmanager
    def by(self, call: str) -> Iterator[None]:
        """Note what is asked meanwhile as what a call asks."""
        self._now = self.of_call.setdefault(_PLACE.sub('{}', call), set())
        yield
        self._now = set()


def list_declared(prefix: str, controllers: Iterable[Any]) -> dict[str, set[str]]:
    """Return the rules that each call declares."""
    declared: dict[str, set[str]] = {}
    for route, _, controller in routing.list_routes(controllers):
        call = _PLACE.sub('{}', f'{prefix} {route.method} /{"/".join(route.segments)}')
        if route.path.endswith('/action'):
            declared |= {f'{call} {found.name}': set(found.rules) for found, _ in actions.list_actions(controller)}
        else:
            declared[call] = set(route.rules)
    return declared


class Things:
    """Makes what a call needs, in the project ``mine``."""

    server_id = compute_host.WEB
    key = 'color'
    alias = 'os-services'
    project_id = PROJECTS['mine']

    def __init__(self, deployed: embedded.Deployment, host: ComputeHost) -> None:
        self._deployed = deployed
        self.host = host
        self.application = deploy.make_application(deployed.engine, deploy.ApiSettings(), authenticate=Personas)
        self.asked = Asked(deployed.engine.policy)
        self._ctx = contexts.make_context(PROJECTS['mine'])
        deployed.make_type('shared')
        for project in PROJECTS.values():
            deployed.engine.quotas.update(self._ctx, project, {'volumes': -1, 'gigabytes': -1, 'snapshots': -1})

    def fill(self, text: str) -> str:
        """Put the names of things that are made for it into a path or a body."""
        made: dict[str, str] = {}

        def make(match: re.Match[str]) -> str:
            name = match[1]
            if name not in made:
                found = getattr(self, name)
                made[name] = found() if callable(found) else found
            return made[name]

        return _PLACE.sub(make, text)

    def name(self) -> str:
        return uuid.uuid4().hex

    def encryption_id(self) -> str:
        return str(uuid.uuid4())

    def volume_id(self) -> str:
        ident = self._deployed.make_volume('shared', ctx=self._ctx)
        self._deployed.engine.volumes.set_metadata(self._ctx, ident, {'color': 'blue'}, keep_others=True)
        return ident

    def snapshot_id(self) -> str:
        engine = self._deployed.engine.snapshots
        made = engine.create(self._ctx, SnapshotWish(self.volume_id(), metadata={'color': 'blue'}))
        self._deployed.wait(lambda: engine.show(self._ctx, made.id).status == 'available')
        return made.id

    @functools.cached_property
    def seen_snapshot_id(self) -> str:
        """One that stays: to make one takes a while."""
        return self.snapshot_id()

    def attachment_id(self) -> str:
        made = self._deployed.engine.attachments.create(self._ctx, self.volume_id(), None, table.CONNECTOR, None)
        return str(made.id)

    def file_name(self) -> str:
        name = self.name()
        with (self._deployed.directory / 'volumes' / name).open('wb') as file:
            file.truncate(1 << 20)
        return name

    def snapshot_file_name(self) -> str:
        name = f'snapshot-{self.name()}'
        with (self._deployed.directory / 'volumes' / name).open('wb') as file:
            file.truncate(1 << 30)
        return name

    def transfer_id(self) -> str:
        return str(self._deployed.engine.transfers.create(self._ctx, self.volume_id(), None)[0].id)

    def type_id(self) -> str:
        specs: dict[str, str | None] = {'multiattach': '<is> True', 'color': 'blue'}
        return str(self._deployed.engine.types.create(self._ctx, self.name(), None, True, specs).id)

    def plain_type_id(self) -> str:
        return str(self._deployed.engine.types.create(self._ctx, self.name(), None, True, {}).id)

    def qos_id(self) -> str:
        return str(self._deployed.engine.qos_specs.create(self._ctx, self.name(), 'both', {'color': 'blue'}).id)

    def message_id(self) -> str:
        about = str(uuid.uuid4())
        with self._deployed.db.writer() as session:
            messages.add(session, PROJECTS['mine'], about, 'VOLUME_VOLUME_001_003', 'no room')
        with self._deployed.db.reader() as session:
            [row] = messages.list_page(session, [messages.M.resource_uuid == about], Page(1))
            return str(row.id)

    def volume_of_server(self) -> str:
        volume_id = self.volume_id()
        reply = ask(
            self.application,
            'admin',
            '/compute/v2.1',
            Call(
                'POST',
                f'/servers/{self.server_id}/os-volume_attachments',
                (),
                {'volumeAttachment': {'volumeId': volume_id}},
            ),
        )
        assert reply.status_int == 200, reply.text
        self._deployed.wait(lambda: self._deployed.status(volume_id) == 'in-use')
        return volume_id


@pytest.fixture(scope='module')
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Things]:
    with embedded.deploy(tmp_path_factory.mktemp('rbac')) as deployed, compute_host.run(deployed) as host:
        host.register()
        yield Things(deployed, host)


def ask(application: Any, persona: str, prefix: str, call: Call) -> webob.Response:
    """Make a call as a persona."""
    project, roles = PERSONAS[persona]
    headers = {
        'X-Roles': ','.join(roles),
        'X-Project-Id': PROJECTS[project],
        'Accept': 'application/json',
        'OpenStack-API-Version': 'volume 3.71, compute 2.89',
    }
    if persona == 'service':
        headers['X-Service-Roles'] = 'service'
    request = webob.Request.blank(f'{prefix}{call.path}', method=call.method, headers=headers)
    if call.body is not None:
        request.body = json.dumps(call.body).encode()
        request.content_type = 'application/json'
    return request.get_response(application)


def check(things: Things, prefix: str, call: Call) -> None:
    found = {}
    for persona in PERSONAS:
        path, _, body = things.fill(f'{call.path}\n{json.dumps(call.body)}').partition('\n')
        filled = call._replace(path=path, body=json.loads(body))
        with things.asked.by(f'{prefix} {call.name}'):
            found[persona] = ask(things.application, persona, prefix, filled).status_int
    assert found == dict(zip(PERSONAS, call.statuses, strict=True))


@pytest.mark.parametrize('call', table.BLOCK_STORAGE, ids=lambda call: call.name)
def test_block_storage(things: Things, call: Call) -> None:
    things.host.beat()  # on a slow machine it would count as down by now
    check(things, '/v3', call)


@pytest.mark.parametrize('call', table.COMPUTE, ids=lambda call: call.name)
def test_compute(things: Things, call: Call) -> None:
    things.host.beat()
    check(things, '/compute/v2.1', call)


# Asked only in cases that no row is: of what a list shows, of a bootable or an attached volume, a query of admins',
# an image for all (tests/functional/images).
RARE = {
    '/v3 GET /volumes/detail': {TENANT_RULE, HOST_RULE, MIGRATION_RULE},
    '/v3 DELETE /volumes/{}': {'volume:force_delete'},
    '/v3 GET /snapshots/detail': {'volume_extension:extended_snapshot_attributes'},
    '/v3 POST /volumes/{}/action os-extend': {'volume:extend_attached_volume'},
    '/v3 POST /volumes/{}/action os-retype': {'volume:multiattach'},
    '/v3 POST /os-volume-transfer/{}/accept': {'volume:multiattach'},
    '/v3 POST /volume-transfers/{}/accept': {'volume:multiattach'},
    '/v3 POST /os-volume-manage': {'volume:multiattach'},
    '/v3 POST /manageable_volumes': {'volume:multiattach'},
    '/v3 POST /volumes/{}/action os-volume_upload_image': {'volume_extension:volume_actions:upload_public'},
    '/v3 POST /volumes/{}/action os-reimage': {'volume:reimage_reserved'},
    '/v3 POST /attachments': {'volume:multiattach_bootable_volume'},
    '/compute/v2.1 GET /servers': {'os_compute_api:servers:index:get_all_tenants'},
    '/compute/v2.1 GET /servers/detail': {'os_compute_api:servers:index:get_all_tenants'},
}


def test_calls_ask_the_rules_that_their_routes_declare(things: Things) -> None:
    """After the rows above: nobody asks what is not declared, nor declares what nobody asks."""
    asked = things.asked.of_call
    assert asked, 'the rows above were not tried'
    declared = list_declared('/v3', block.CONTROLLERS) | list_declared('/compute/v2.1', compute_app.CONTROLLERS)
    assert {call: rules - declared[call] for call, rules in asked.items() if rules - declared[call]} == {}
    unasked = {call: declared[call] - rules - RARE.get(call, set()) for call, rules in asked.items()}
    assert {call: rules for call, rules in unasked.items() if rules} == {}
