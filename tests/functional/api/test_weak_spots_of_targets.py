# SPDX-License-Identifier: Apache-2.0
"""The weak spots of contract 11.4 that are about targets, locks and inputs; one test a number.

What an HTTP test in one process cannot show is in the tests that ``ELSEWHERE`` names.
"""

import ast
import concurrent.futures
import functools
import pathlib
import re
import uuid
from collections.abc import Callable

import pytest
import webob

from multiattach.cmd import parts as program
from tests.deployments import embedded, surroundings
from tests.deployments.noauth import make_connector
from tests.functional.api.conftest import AwkwardTarget, Caller, make_application

HERE = pathlib.Path(__file__).parent
TESTS = HERE.parents[1]
# Number → tests of the same weak spot with real targets, processes or a Keystone.
ELSEWHERE = {
    3: ('functional/races/test_attachments.py::test_concurrent_deletes_take_the_export_away',),
    4: ('functional/races/test_attachments.py::test_delete_during_connect_leaves_nothing_on_the_target',),
    9: ('functional/races/test_attachments.py::test_attach_against_retype_never_shares_a_single_attach_volume',),
    15: (
        'component/volume/test_exporter.py::test_servers_of_one_host_share_credentials_and_the_last_one_takes_them_away',
        'functional/drivers/targets/tgt/test_target.py::test_one_initiator_can_not_use_its_account_at_another_volume',
    ),
    18: ('functional/races/test_attachments.py::test_processes_race_on_one_database',),
    19: ('functional/standalone/test_life.py::test_a_killed_tgtd_comes_back_with_every_export',),
    20: (
        'functional/keystone/test_guard.py::test_row_8_in_any_state',
        'functional/standalone/test_life.py::test_kill_9_during_an_attach',
    ),
}


def list_tests(path: pathlib.Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_number_has_a_test() -> None:
    names = list_tests(HERE / 'test_weak_spots.py') | list_tests(pathlib.Path(__file__))
    numbers = {int(match[1]) for name in names if (match := re.match(r'test_(\d\d)_', name))}
    assert numbers == set(range(1, 28))


@pytest.mark.parametrize('named', [name for names in ELSEWHERE.values() for name in names])
def test_the_tests_elsewhere_exist(named: str) -> None:
    path, _, name = named.partition('::')
    assert name in list_tests(TESTS / path)


def initiators(target: AwkwardTarget, volume: str) -> set[str]:
    return set(target.list_exports()[volume].initiators)


def race(calls: list[Callable[[], webob.Response]]) -> list[webob.Response]:
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


@pytest.mark.parametrize('late', [False, True])
def test_02_a_failure_on_one_host_leaves_the_others_alone(awkward: Caller, target: AwkwardTarget, late: bool) -> None:
    volume = awkward.make_volume()
    awkward.attach(volume, 'one')
    second = awkward.reserve(volume).json['attachment']['id']
    target.refuses, target.refuses_late = not late, late
    assert awkward.connect(second, 'two').json['computeFault']['code'] == 500
    assert make_connector('one')['initiator'] in initiators(target, volume)
    assert awkward.show(volume)['status'] == 'in-use'
    target.refuses = target.refuses_late = False
    assert awkward.connect(second, 'two').status_int == 200
    assert initiators(target, volume) == {make_connector(host)['initiator'] for host in ('one', 'two')}
    assert awkward.delete(second).status_int == 200
    assert initiators(target, volume) == {make_connector('one')['initiator']}


def test_03_concurrent_deletes_leave_no_export(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()
    for _ in range(3):
        idents = [awkward.attach(volume, f'host{number}') for number in range(3)]
        replies = race([functools.partial(awkward.delete, ident) for ident in idents * 2])
        assert {reply.status_int for reply in replies} <= {200, 404, 409}
        assert target.list_exports() == {}
        assert awkward.show(volume)['status'] == 'available'


def test_06_os_detach_leaves_the_others_their_export(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()
    first = awkward.attach(volume, 'one')
    awkward.attach(volume, 'two')
    assert awkward.act(volume, 'os-detach', {'attachment_id': first}).status_int == 202
    assert initiators(target, volume) == {make_connector('two')['initiator']}
    assert awkward.show(volume)['status'] == 'in-use'
    assert [row['host_name'] for row in awkward.show(volume)['attachments']] == ['two']
    assert awkward.act(volume, 'os-detach', {}).status_int == 202
    assert target.list_exports() == {}


def test_15_each_attachment_has_credentials_of_its_own(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()

    def attach(host: str) -> tuple[str, tuple[str, str]]:
        ident = awkward.attach(volume, host)
        info = awkward('GET', f'/attachments/{ident}').json['attachment']['connection_info']
        return ident, (info['auth_username'], info['auth_password'])

    (first, pair), (_, other) = attach('one'), attach('two')
    assert set(pair).isdisjoint(other)
    assert initiators(target, volume) == {make_connector(host)['initiator'] for host in ('one', 'two')}
    assert awkward.delete(first).status_int == 200
    assert initiators(target, volume) == {make_connector('two')['initiator']}
    assert attach('one')[1][1] != pair[1]


def test_18_no_lock_is_a_file(tmp_path: pathlib.Path) -> None:
    """Two API services that share a database and nothing else: of rivals one wins."""
    url = surroundings.current.find_database(tmp_path)
    with (
        embedded.deploy(tmp_path / 'a', url=url) as one,
        embedded.deploy(tmp_path / 'b', url=url, start_worker=False) as two,
    ):
        callers = [Caller(make_application(parts), parts) for parts in (one, two)]
        for _ in range(5):
            volume = callers[0].make_volume(multiattach=False)
            replies = race([functools.partial(call.reserve, volume) for call in callers * 3])
            assert sorted(reply.status_int for reply in replies) == [200, 400, 400, 400, 400, 400]
            assert len(callers[1]('GET', f'/attachments?volume_id={volume}').json['attachments']) == 1


def test_19_a_restarted_target_gets_every_export_back(awkward: Caller, target: AwkwardTarget) -> None:
    """Whatever the status of the volume: in-use, attaching or detaching."""
    volumes = [awkward.make_volume() for _ in range(3)]
    awkward.attach(volumes[0], 'one')
    assert awkward.reserve(volumes[1], connector=make_connector('two')).status_int == 200
    awkward.attach(volumes[2], 'three')
    assert awkward.act(volumes[2], 'os-begin_detaching').status_int == 202
    assert [awkward.show(volume)['status'] for volume in volumes] == ['in-use', 'attaching', 'detaching']
    before = target.list_exports()
    target.die()
    assert target.list_exports() == {}
    awkward.deployed.worker.tend()
    assert target.list_exports() == before
    assert set(before) == set(volumes)


def test_20_a_late_worker_stores_connection_info_itself(awkward: Caller, target: AwkwardTarget) -> None:
    parts = awkward.deployed
    volume = awkward.make_volume()
    parts.conf.set_override('rpc_response_timeout', 1)
    parts.engine = program.build_engine(parts.conf, parts.db, parts.rpc)
    impatient = Caller(make_application(parts), parts)
    ident = impatient.reserve(volume).json['attachment']['id']
    target.go_on.clear()
    reply = impatient.connect(ident, 'one')
    assert (reply.status_int, reply.json['computeFault']['code']) == (504, 504)
    shown = impatient('GET', f'/attachments/{ident}').json['attachment']
    assert (shown['status'], shown['connection_info']) == ('attaching', {})
    target.go_on.set()
    parts.wait(lambda: impatient('GET', f'/attachments/{ident}').json['attachment']['connection_info'])
    info = impatient('GET', f'/attachments/{ident}').json['attachment']['connection_info']
    assert info['attachment_id'] == ident
    assert impatient.connect(ident, 'one').json['attachment']['connection_info'] == info
    assert impatient.delete(ident).status_int == 200
    assert target.list_exports() == {}


def test_21_reset_to_detached_really_detaches(awkward: Caller, target: AwkwardTarget) -> None:
    volume = awkward.make_volume()
    for host in ('one', 'two'):
        awkward.attach(volume, host)
    reply = awkward.act(volume, 'os-reset_status', {'status': 'error', 'attach_status': 'detached'})
    assert reply.status_int == 202
    assert target.list_exports() == {}
    assert awkward('GET', f'/attachments?volume_id={volume}').json == {'attachments': []}
    assert awkward.show(volume)['status'] == 'error'  # as asked for, not as attachments would have it


@pytest.mark.parametrize('status', ['deleting', 'error_deleting', 'detaching'])
def test_21_what_tells_of_work_is_not_set_by_hand(call: Caller, status: str) -> None:
    volume = call.make_volume()
    assert call.act(volume, 'os-reset_status', {'status': status}).json['badRequest']['code'] == 400
    assert call.show(volume)['status'] == 'available'


def test_23_a_wrong_connector_is_400_on_every_way(call: Caller) -> None:
    volume = call.make_volume()
    for given in ({'initiator': 'iqn.1994-05.com.redhat:one'}, {'host': 'one'}):
        assert call.reserve(volume, connector=given).json['badRequest']['code'] == 400
        ident = call.reserve(volume).json['attachment']['id']
        reply = call('PUT', f'/attachments/{ident}', {'attachment': {'connector': given}})
        assert reply.json['badRequest']['code'] == 400
        assert call.delete(ident).status_int == 200
    assert call.show(volume)['status'] == 'available'


def test_23_a_stray_type_is_400(call: Caller) -> None:
    attachment, kind = str(uuid.uuid4()), str(uuid.uuid4())
    for method, path, body in (
        ('POST', '/attachments', {'attachment': {'volume_uuid': kind}}),
        ('PUT', f'/attachments/{attachment}', {'attachment': {'connector': make_connector('one')}}),
        ('POST', '/types', {'volume_type': {'name': 'x'}}),
        ('PUT', f'/types/{kind}', {'volume_type': {'name': 'x'}}),
    ):
        assert call(method, path, {**body, 'type': 'x'}).json['badRequest']['code'] == 400


def test_23_an_empty_body_is_400(call: Caller) -> None:
    for path in ('/volumes', '/attachments', '/types', f'/volumes/{uuid.uuid4()}/action'):
        assert call('POST', path).json['badRequest']['code'] == 400


def test_23_os_detach_without_a_value_is_no_error(call: Caller) -> None:
    volume = call.make_volume()
    call.attach(volume, 'one')
    assert call.act(volume, 'os-detach').status_int == 202
    assert call.show(volume)['status'] == 'available'


@pytest.mark.parametrize('header', ['volume', 'volume 3.27 extra', 'volume3.27', 'volume '])
def test_23_an_odd_version_is_400(call: Caller, header: str) -> None:
    reply = call('GET', '/volumes', OpenStack_API_Version=header)
    assert reply.json['badRequest']['code'] == 400
