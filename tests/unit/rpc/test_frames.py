# SPDX-License-Identifier: Apache-2.0
"""Frames are those of py-amqp, byte for byte, and are understood however they come."""

import contextlib
import json
import socket
import types

import amqp
import pytest
from amqp import method_framing, serialization, spec
from amqp.transport import SSLTransport, TCPTransport

from multiattach.rpc import frames

LARGE = 4096  # bytes of a frame in these tests
BODIES = {'short': b'{"a": "\xc3\xa4"}', 'of several frames': json.dumps(['x' * 100] * 100).encode()}
bodies = pytest.mark.parametrize('body', BODIES.values(), ids=list(BODIES))


def write(kind, number, method, arguments, content=None):
    """Have py-amqp write frames."""
    written = []
    transport = types.SimpleNamespace(write=lambda data: written.append(bytes(data)))
    connection = types.SimpleNamespace(frame_max=LARGE, bytes_sent=0)
    method_framing.frame_writer(connection, transport)(kind, number, method, arguments, content)
    return b''.join(written)


def make_message(body, **more):
    return amqp.Message(
        body,
        content_type='application/json',
        content_encoding='utf-8',
        application_headers={},
        delivery_mode=2,
        priority=0,
        **more,
    )


@bodies
@pytest.mark.parametrize('mandatory', [False, True])
@pytest.mark.parametrize('expiration', [None, 60, 0.5])
def test_what_is_published(body, mandatory, expiration):
    more = {} if expiration is None else {'expiration': str(int(expiration * 1000))}
    arguments = serialization.dumps('Bssbb', (0, 'openstack', 'topic.h@b', mandatory, False))
    assert frames.pack_publish(
        3, 'openstack', 'topic.h@b', body, mandatory=mandatory, expiration=expiration, most=LARGE
    ) == write(1, 3, spec.Basic.Publish, arguments, make_message(body, **more))


def test_a_name_that_is_too_long():
    with pytest.raises(ValueError, match='255'):
        frames.pack_publish(1, 'e' * 256, 'k', b'{}', mandatory=False, expiration=None, most=LARGE)


class Broker:
    """The other end of a connection that is open, and has one channel."""

    def __init__(self, kind=TCPTransport):
        self.mine, theirs = socket.socketpair()
        theirs.settimeout(5)
        transport = kind('nowhere')
        transport.sock, transport.connected = theirs, True
        if kind is TCPTransport:
            transport._setup_transport()
        else:
            transport._quick_recv, transport._read_buffer = theirs.recv, b''
            transport._write = theirs.sendall
        self.connection = frames.Connection('nowhere', confirm_publish=True)
        self.connection.transport = transport
        self.connection.on_inbound_frame = method_framing.frame_handler(
            self.connection, self.connection.on_inbound_method
        )
        self.connection.frame_writer = method_framing.frame_writer(self.connection, transport)
        self.channel = frames.Channel(self.connection, 1)
        self.channel._confirm_selected = True
        self.taken = []
        self.channel.callbacks['7'] = lambda message: self.taken.append(self.channel.message_to_python(message))

    def say(self, *pieces):
        for piece in pieces:
            self.mine.sendall(piece)

    def hear(self):
        return self.mine.recv(65536)

    def close(self):
        self.mine.close()
        self.connection.transport.sock.close()


@pytest.fixture(params=[TCPTransport, SSLTransport], ids=['plain', 'TLS'])
def broker(request):
    made = Broker(request.param)
    yield made
    made.close()


def deliver(body, tag=1, **more):
    arguments = serialization.dumps('sLbss', ('7', tag, False, 'openstack', 'topic'))
    return write(1, 1, spec.Basic.Deliver, arguments, make_message(body, **more))


def confirm(tag, *, multiple=False, method=spec.Basic.Ack):
    return write(1, 1, method, serialization.dumps('Lb', (tag, multiple)))


HEARTBEAT = write(8, 0, None, None)


@bodies
def test_what_is_delivered(broker, body):
    broker.say(deliver(body) + HEARTBEAT + deliver(b'[2]', 2, expiration='60000'))
    broker.connection.drain_events()
    broker.connection.drain_events()
    assert [message.payload for message in broker.taken] == [json.loads(body), [2]]
    for message in broker.taken:
        message.ack()
    assert broker.hear() == confirm(1) + confirm(2)


def drain(broker):
    with contextlib.suppress(TimeoutError):
        while True:
            broker.connection.drain_events(timeout=0.001)


def test_a_message_in_pieces(broker):
    data = deliver(BODIES['short']) + deliver(b'[2]', 2)
    for cut in range(1, len(data)):
        broker.say(data[:cut])
        drain(broker)
        broker.say(data[cut:])
        while len(broker.taken) < 2:
            broker.connection.drain_events(timeout=5)
        assert [message.payload for message in broker.taken] == [json.loads(BODIES['short']), [2]]
        broker.taken.clear()


@pytest.mark.parametrize(
    'message',
    [
        amqp.Message('text', content_type='text/plain', content_encoding='utf-8'),
        amqp.Message('[1]', content_type='application/json', content_encoding='utf-8', application_headers={'a': 'b'}),
        amqp.Message('[1]', content_type='application/json', content_encoding='utf-8', delivery_mode=1),
        amqp.Message('', content_type='text/plain', content_encoding='utf-8'),
    ],
    ids=['text', 'headers', 'transient', 'empty'],
)
def test_what_oslo_messaging_does_not_send_is_left_to_the_library(broker, message):
    arguments = serialization.dumps('sLbss', ('7', 5, False, '', 'topic'))
    broker.say(write(1, 1, spec.Basic.Deliver, arguments, message))
    broker.connection.drain_events()
    [taken] = broker.taken
    assert not isinstance(taken, frames.Delivery)
    assert taken.delivery_tag == 5
    assert taken.headers == (message.headers or {})


def publish(broker, key='k', **more):
    broker.channel.publish_json('', key, b'{}', timeout=0.2, **more)


def test_a_message_is_awaited_until_it_is_confirmed(broker):
    with pytest.raises(TimeoutError):
        publish(broker)
    broker.say(confirm(1))  # late
    with pytest.raises(TimeoutError):
        publish(broker)
    broker.say(confirm(3, multiple=True))
    publish(broker)
    broker.say(confirm(4, method=spec.Basic.Nack))
    with pytest.raises(amqp.exceptions.MessageNacked):
        publish(broker)
    broker.say(confirm(5))
    publish(broker)


def test_a_returned_message_is_no_confirmed_one(broker):
    returned = []
    broker.channel.events['basic_return'].add(lambda *what: returned.append(what[2]))
    arguments = serialization.dumps('Bsss', (312, 'NO_ROUTE', '', 'nobody'))
    broker.say(write(1, 1, spec.Basic.Return, arguments, make_message(b'{}')) + confirm(1))
    publish(broker, 'nobody', mandatory=True)
    assert returned == ['nobody']


def test_a_channel_that_the_broker_closes(broker):
    for tag in (1, 2):
        broker.say(confirm(tag))
        publish(broker)
    closed = write(1, 1, spec.Channel.Close, serialization.dumps('BsBB', (404, 'NOT_FOUND', 60, 40)))
    broker.say(closed, write(1, 1, spec.Channel.OpenOk, b'\0\0\0\0'))
    with pytest.raises(amqp.exceptions.NotFound):
        publish(broker)
    broker.say(write(1, 1, spec.Confirm.SelectOk, b''), confirm(1))  # it counts anew
    publish(broker)
    with pytest.raises(TimeoutError):
        publish(broker)


def test_a_connection_that_ends(broker):
    broker.mine.close()
    with pytest.raises(OSError, match=r'closed|pipe|reset'):
        publish(broker)
    assert not broker.connection.transport.connected


def test_what_is_no_frame():
    broker = Broker()
    broker.say(confirm(1)[:-1] + b'\0')
    with pytest.raises(amqp.exceptions.UnexpectedFrame, match='0x00'):
        publish(broker)
    broker.close()


def test_a_channel_that_is_gone(broker):
    broker.channel.collect()
    for step in (lambda: publish(broker), lambda: broker.channel.basic_ack(1)):
        with pytest.raises(amqp.exceptions.RecoverableConnectionError):
            step()
