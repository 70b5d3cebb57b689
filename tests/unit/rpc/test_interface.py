# SPDX-License-Identifier: Apache-2.0
"""What goes over the broker, word for word: programs of two releases work together during an upgrade.

The tables are the contract. A row that has been released never changes: a method keeps its name and its
parameters while the major version is 1. What is new gets a row of its own with the next minor version, and
its client asks for that version (see ``multiattach.rpc.clients``), so that an older worker refuses instead
of misunderstanding.
"""

import inspect

import oslo_messaging as messaging
import pytest
from oslo_config import cfg

from multiattach import conf as configuration
from multiattach.domain import errors
from multiattach.host.agent import HostAgent
from multiattach.rpc import clients, transport
from multiattach.volume.own_gateway import GatewayEndpoint
from multiattach.volume.worker import FenceEndpoint, VolumeEndpoint

CALL, CAST = 'call', 'cast'
_ATTACHMENT = ('volume_id', 'attachment_id')

# topic → method → how it is sent, version that its client asks for, names of what it carries.
TABLE = {
    'multiattach-volume': {
        'create_volume': (CAST, '1.0', ('volume_id',)),
        'delete_volume': (CAST, '1.0', ('volume_id',)),
        'extend_volume': (CAST, '1.0', ('volume_id',)),
        'export': (CALL, '1.0', _ATTACHMENT),
        'unexport': (CALL, '1.0', _ATTACHMENT),
        'show_target': (CALL, '1.1', ('volume_id',)),
        'list_targets': (CALL, '1.1', ('marker', 'limit')),
        'fence': (CALL, '1.2', _ATTACHMENT),
        'fence_many': (CALL, '1.2', ('orders',)),  # pairs of volume and attachment
        'reconcile': (CALL, '1.3', ('fix',)),
        'release': (CALL, '1.4', ('seals',)),
        'list_findings': (CALL, '1.4', ('volume_id',)),
        'create_snapshot': (CAST, '1.6', ('snapshot_id',)),
        'delete_snapshot': (CAST, '1.6', ('snapshot_id',)),
        'revert_volume': (CAST, '1.6', ('volume_id',)),
        'copy_image': (CAST, '1.6', ('volume_id',)),
        'migrate_volume': (CAST, '1.6', ('migration_id',)),
        'manage_volume': (CAST, '1.6', ('volume_id',)),
        'unmanage_volume': (CAST, '1.6', ('volume_id',)),
        'list_manageable': (CALL, '1.6', ()),
        'find_manageable': (CALL, '1.6', ('name',)),
        'list_manageable_snapshots': (CALL, '1.6', ()),
        'find_manageable_snapshot': (CALL, '1.6', ('volume_id', 'name')),
        'show_reservations': (CALL, '1.7', ('volume_id',)),
        'clear_reservations': (CALL, '1.7', ('volume_id', 'initiators')),  # None: all
    },
    # By threads that do nothing else; the topic above serves them for APIs that do not know this one.
    'multiattach-fence': {'fence': (CALL, '1.2', _ATTACHMENT), 'fence_many': (CALL, '1.2', ('orders',))},
    # By each member of a cluster, of its own gateway; nobody's request.
    'multiattach-gateway': {
        'admit': (CALL, '1.5', ('volume_id', 'initiator')),
        'revoke': (CALL, '1.5', ('volume_id', 'initiator', 'alone')),
        'fence': (CALL, '1.5', ('volume_id', 'initiator', 'alone', 'again')),
        'extend': (CALL, '1.5', ('volume_id',)),
        'remove': (CALL, '1.5', ('volume_id',)),
        'check': (CALL, '1.5', ()),
    },
    'multiattach-host': {
        'attach': (CAST, '1.0', ('attachment_id',)),
        'detach': (CAST, '1.0', ('attachment_id',)),
        'extend': (CAST, '1.0', ()),
        # A hint only: an agent of an older release logs that it does not know it.
        'sweep': (CAST, '1.0', ()),
        'reconcile': (CALL, '1.3', ('fix',)),
        'show_host': (CALL, '1.3', ()),
        'release': (CALL, '1.4', ('seals',)),
    },
}
SERVED = '1.7'  # what workers and agents answer to: 1.0 up to this
SIDES = {
    'multiattach-volume': (VolumeEndpoint, clients.VolumeWorkers),
    'multiattach-fence': (FenceEndpoint, clients.FenceWorkers),
    'multiattach-gateway': (GatewayEndpoint, clients.GatewayPeers),
    'multiattach-host': (HostAgent, clients.HostAgents),
}

topics = pytest.mark.parametrize('topic', list(TABLE))


def list_own(kind):
    # Those of a base, too; "within" makes a client and calls nobody.
    return {
        name: member
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith('_') and name != 'within'
    }


def list_parameters(method):
    # expected_exceptions hides the method that it wraps.
    return tuple(inspect.signature(inspect.getclosurevars(method).nonlocals.get('func', method)).parameters)


@topics
def test_what_is_served(topic):
    endpoint = SIDES[topic][0]
    served = {
        name: list_parameters(member)
        for name, member in list_own(endpoint).items()
        if getattr(member, 'exposed', False)
    }
    assert served == {name: ('self', 'context', *carried) for name, (_, _, carried) in TABLE[topic].items()}
    assert endpoint.target.version == clients.VERSION == SERVED
    assert endpoint.target.namespace is None


class Wire:
    """Takes down what a client sends."""

    def __init__(self):
        self.sent = []

    def note(self, how):
        def send(server, method, request_id, *version, **carried):
            self.sent.append((how, method, server, request_id, version[0] if version else '1.0', carried))

        return send


@topics
def test_what_is_sent(topic, monkeypatch):
    conf = configuration.load(
        [], program='t', description='t', defaults={('DEFAULT', 'transport_url'): 'inproc:///interface'}
    )
    client = SIDES[topic][1](transport.make_transport(conf), 1.0)
    assert client._topic == topic
    wire = Wire()
    monkeypatch.setattr(client, '_call', wire.note(CALL))
    monkeypatch.setattr(client, '_cast', wire.note(CAST))
    methods = list_own(type(client))
    assert set(methods) == set(TABLE[topic])
    order = clients.ExportOrder('h@b', 'volume_id', 'attachment_id')
    for name, method in methods.items():
        values = {
            'host': 'h@b',
            'name': 'h@b',
            'order': order,
            'orders': [order],
            'request_id': 'req-1',
            'limit': 7,
            'seals': ['seal'],
        }
        words = list(inspect.signature(method).parameters)[1:]
        method(client, *(values.get(word, word) for word in words))
        how, version, carried = TABLE[topic][name]
        assert wire.sent.pop() == (
            how,
            name,
            'h@b',
            None if topic == clients.GATEWAY_TOPIC else 'req-1',
            version,
            {word: [list(_ATTACHMENT)] if word == 'orders' else values.get(word, word) for word in carried},
        )
        assert not wire.sent


def test_no_release_asks_for_what_it_does_not_serve():
    asked = {tuple(map(int, row[1].split('.'))) for rows in TABLE.values() for row in rows.values()}
    assert {major for major, _ in asked} == {1}
    assert max(asked) == tuple(map(int, SERVED.split('.')))


@pytest.fixture
def older():
    """A worker of the first release, as its client finds it."""

    class Endpoint:
        target = messaging.Target(version='1.0')

        @messaging.expose
        def export(self, context, volume_id, attachment_id):
            assert (volume_id, attachment_id) == ('v', 'a')

    conf = configuration.load(
        [], program='t', description='t', defaults={('DEFAULT', 'transport_url'): 'inproc:///older'}
    )
    assert isinstance(conf, cfg.ConfigOpts)
    rpc = transport.make_transport(conf)
    server = transport.make_server(rpc, clients.VOLUME_TOPIC, 'h@b', Endpoint())
    server.start()
    yield clients.VolumeWorkers(rpc, 5.0)
    server.stop()
    server.wait()
    rpc.cleanup()


def test_an_older_worker_does_what_it_knows_and_refuses_the_rest(older):
    order = clients.ExportOrder('h@b', 'v', 'a')
    older.export(order, None)
    for call in (
        lambda: older.fence(order, None),
        lambda: older.show_target('h@b', 'v', None),
        lambda: older.list_targets('h@b', None, 5, None),
        lambda: older.reconcile('h@b', False, None),
    ):
        with pytest.raises(errors.Unavailable, match='older release'):
            call()
