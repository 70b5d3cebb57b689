# SPDX-License-Identifier: Apache-2.0
"""AMQP 0-9-1 frames of what an RPC consists of: publish, confirm, deliver, acknowledge.

py-amqp and kombu take several times as long for them as the broker does. Here they are packed and parsed at
once; anything else on the connection (handshake, declarations, errors, heartbeats) is left to py-amqp, and so
is what comes over TLS or in another shape than oslo.messaging sends.
"""

import errno
import json
import struct
from typing import Any

from amqp import exceptions, spec
from amqp.transport import TCPTransport
from kombu.transport import TRANSPORT_ALIASES, pyamqp

SCHEME = 'multiattach-amqp'

_MOST = 65536  # bytes of one read
_METHOD, _HEADER, _BODY, _END = 1, 2, 3, 0xCE
_HEAD, _OVERHEAD = struct.Struct('>BHI'), 8  # kind, channel and size; with the end
_PUBLISH, _DELIVER, _ACK = (
    struct.pack('>HH', *method) for method in (spec.Basic.Publish, spec.Basic.Deliver, spec.Basic.Ack)
)
# content_type, content_encoding, headers (none), delivery_mode (persistent), priority: what kombu gives JSON.
_JSON = b'\x10application/json\x05utf-8\0\0\0\0\x02\0'
_CONTENT = struct.Struct('>HHQH')  # class, weight, size of the body, which properties there are
_FLAGS, _EXPIRES = 0xF800, 0x0100
_SENT_AS_JSON = _JSON[:-2]
_BASIC = spec.Basic.CLASS_ID
_HARMLESS = {errno.EAGAIN, errno.EINTR}


def pack_publish(
    channel: int, exchange: str, key: str, body: bytes, *, mandatory: bool, expiration: float | None, most: int
) -> bytes:
    """Pack a persistent message of JSON.

    :param key: routing key.
    :param expiration: seconds until nobody wants it any more, None for never.
    :param most: bytes of a frame, as the broker wants it.
    """
    method = b''.join((_PUBLISH, b'\0\0', _pack_text(exchange), _pack_text(key), b'\1' if mandatory else b'\0'))
    flags, properties = _FLAGS, _JSON
    if expiration is not None:
        flags, properties = flags | _EXPIRES, properties + _pack_text(str(int(expiration * 1000)))
    header = _CONTENT.pack(_BASIC, 0, len(body), flags) + properties
    most -= _OVERHEAD
    parts = [(_METHOD, method), (_HEADER, header)]
    parts += [(_BODY, body[start : start + most]) for start in range(0, len(body), most)]
    return b''.join(piece for kind, part in parts for piece in (_HEAD.pack(kind, channel, len(part)), part, b'\xce'))


def _pack_text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f'{text[:20]!r}… is longer than 255 bytes')
    return bytes((len(data),)) + data


class Delivery:
    """A message of JSON; it has what oslo.messaging asks one of kombu for."""

    __slots__ = ('_channel', '_tag', 'body')

    def __init__(self, channel: 'Channel', tag: int, body: bytes) -> None:
        self._channel = channel
        self._tag = tag
        self.body = body

    @property
    def headers(self) -> dict[str, Any]:
        """None of a message that is parsed here."""
        return {}

    @property
    def payload(self) -> Any:
        """What was sent."""
        return json.loads(self.body)

    def ack(self) -> None:
        """Have the broker forget it."""
        self._channel.basic_ack(self._tag)

    def reject(self, requeue: bool = False) -> None:
        """Refuse it.

        :param requeue: somebody else is to have it.
        """
        self._channel.basic_reject(self._tag, requeue=requeue)

    def requeue(self) -> None:
        """Let somebody else have it."""
        self.reject(requeue=True)


class Channel(pyamqp.Channel):
    """A channel whose messages are confirmed by the broker one by one."""

    _confirm_selected: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._published = self._confirmed = 0

    def _do_revive(self) -> None:
        self._published = self._confirmed = 0  # the broker closed it, and counts from the beginning, too
        super()._do_revive()

    def publish_json(
        self,
        exchange: str,
        key: str,
        body: bytes,
        *,
        mandatory: bool = False,
        expiration: float | None = None,
        timeout: float | None = None,
    ) -> None:
        """Publish a message, and wait until the broker has it.

        :param key: routing key.
        :param mandatory: it is returned if there is no queue for it.
        :param expiration: seconds until nobody wants it any more.
        :param timeout: seconds that the broker may say nothing, None for what the connection is set to.
        :raises MessageNacked: the broker cannot take it.
        """
        connection = self.connection
        if connection is None:
            raise exceptions.RecoverableConnectionError('connection already closed')
        if not self._confirm_selected:
            self._confirm_selected = True
            self.confirm_select()
        data = pack_publish(
            self.channel_id, exchange, key, body, mandatory=mandatory, expiration=expiration, most=connection.frame_max
        )
        self._published += 1
        mine = self._published
        connection.send(data)
        while self._confirmed < mine:
            if self.connection is None:
                raise exceptions.RecoverableConnectionError('connection already closed')
            connection.drain_events(timeout)

    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any:
        """See py-amqp; this one is counted."""
        self._published += 1
        return super().basic_publish_confirm(*args, **kwargs)

    def basic_ack(self, delivery_tag: int, multiple: bool = False, argsig: str = 'Lb') -> None:
        """See py-amqp.

        :param argsig: ignored.
        """
        connection = self.connection
        if connection is None:
            raise exceptions.RecoverableConnectionError('connection already closed')
        payload = _ACK + delivery_tag.to_bytes(8, 'big') + (b'\1' if multiple else b'\0')
        connection.send(_HEAD.pack(_METHOD, self.channel_id, len(payload)) + payload + b'\xce')

    def message_to_python(self, raw_message: Any) -> Any:
        """Return a message as oslo.messaging takes it."""
        return raw_message if isinstance(raw_message, Delivery) else super().message_to_python(raw_message)  # type: ignore[no-untyped-call]

    def _on_basic_ack(self, delivery_tag: int, multiple: bool) -> None:
        self._confirmed = max(self._confirmed, delivery_tag)
        super()._on_basic_ack(delivery_tag, multiple)

    def _on_basic_nack(self, delivery_tag: int, multiple: bool) -> None:
        self._confirmed = max(self._confirmed, delivery_tag)
        super()._on_basic_nack(delivery_tag, multiple)
        if spec.Basic.Nack not in self._pending:  # else basic_publish_confirm raises it
            raise exceptions.MessageNacked


class Connection(pyamqp.Connection):
    """A connection that reads as much at once as there is."""

    Channel = Channel

    def send(self, data: bytes) -> None:
        """Write frames.

        :raises OSError: the connection is broken.
        """
        self.transport.write(data)
        self.bytes_sent += 1

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read and handle one frame, or all those of a message.

        :param timeout: seconds, None for what the socket is set to.
        :returns: whether a method was handled.
        """
        transport = self.transport
        if not isinstance(transport, TCPTransport):
            return super().blocking_read(timeout)
        data: bytes = transport._read_buffer
        while len(data) < _OVERHEAD or len(data) < _OVERHEAD + int.from_bytes(data[3:7], 'big'):
            data += _receive(transport, timeout)
            transport._read_buffer = data
        kind, number, size = _HEAD.unpack_from(data)
        end = size + _OVERHEAD
        if data[end - 1] != _END:
            raise exceptions.UnexpectedFrame(f'Received frame_end {data[end - 1]:#04x} while expecting 0xce')
        payload = data[7 : end - 1]
        transport._read_buffer = data[end:]
        if kind == _METHOD:
            self.bytes_recv += 1
            if self._handle(number, payload, transport):
                return True
        return self.on_inbound_frame((kind, number, payload))

    def _handle(self, number: int, payload: bytes, transport: TCPTransport) -> bool:
        """Handle one of the two methods that come with each RPC."""
        channel = (self.channels or {}).get(number)
        if not isinstance(channel, Channel) or channel.is_closing:
            return False
        method = payload[:4]
        if method == _ACK and spec.Basic.Ack not in channel._pending:
            channel._on_basic_ack(int.from_bytes(payload[4:12], 'big'), bool(payload[12] & 1))
            return True
        if method == _DELIVER:
            length = payload[4]
            callback = channel.callbacks.get(payload[5 : 5 + length].decode())
            body = _take_json(transport, number) if callback is not None else None
            if body is not None:
                callback(Delivery(channel, int.from_bytes(payload[5 + length : 13 + length], 'big'), body))
                return True
        return False


def _receive(transport: TCPTransport, timeout: float | None) -> bytes:
    """Read what there is; the socket's own timeout stays what it was."""
    socket = transport.sock
    before = socket.gettimeout()
    changed = timeout is not None and timeout != before
    if changed:
        socket.settimeout(timeout)
    try:
        data: bytes = socket.recv(_MOST)
    except BlockingIOError:
        raise TimeoutError from None
    except TimeoutError:
        raise
    except OSError as exc:
        transport.connected = transport.connected and exc.errno in _HARMLESS
        raise
    finally:
        if changed:
            socket.settimeout(before)
    if not data:
        transport.connected = False
        raise OSError('Server unexpectedly closed connection')
    return data


def _take_json(transport: TCPTransport, number: int) -> bytes | None:
    """Take the content of a message off what was read; None if it is not there as a whole, or no plain JSON."""
    data: bytes = transport._read_buffer
    if len(data) < _OVERHEAD + _CONTENT.size:
        return None
    kind, channel, size = _HEAD.unpack_from(data)
    _, _, length, flags = _CONTENT.unpack_from(data, 7)
    start = 7 + _CONTENT.size
    if (kind, channel) != (_HEADER, number) or flags & _FLAGS != _FLAGS or not data.startswith(_SENT_AS_JSON, start):
        return None
    start = size + _OVERHEAD
    end = start + length + _OVERHEAD
    if len(data) < end or _HEAD.unpack_from(data, start) != (_BODY, number, length):
        return None
    if data[start - 1] != _END or data[end - 1] != _END:
        return None
    transport._read_buffer = data[end:]
    return data[start + 7 : end - 1]


class Transport(pyamqp.Transport):
    """What kombu loads for URLs of :data:`SCHEME`."""

    Connection = Connection


TRANSPORT_ALIASES[SCHEME] = f'{__name__}:Transport'
