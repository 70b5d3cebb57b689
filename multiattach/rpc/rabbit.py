# SPDX-License-Identifier: Apache-2.0
"""oslo.messaging's driver for RabbitMQ with a short way for RPCs.

Exchanges, queues, messages and guarantees are the library's: a message is confirmed by the broker, a reply is
mandatory, a call is acknowledged before it is carried out, and what fails is repeated over a new connection.
Left out is what it does besides with each of them.
"""

import json
import threading
import time
from typing import Any

import oslo_messaging
from kombu import entity
from oslo_log import log
from oslo_messaging._drivers import amqp, amqpdriver, common, impl_rabbit

from multiattach.rpc import frames

LOG = log.getLogger(__name__)

# The driver looks again 1 ms after each message, then after 2, 4, 8 …: for acknowledgements that RPCs do not have.
_PATIENCE = 0.5  # s, doubled by the driver up to 5 s as long as nothing comes
_TICK = 0.5  # s between two looks at which calls need a sign of life
# What tells of a message or a time, and nothing of a connection.
_ANSWERS = (common.Timeout, oslo_messaging.MessageUndeliverable, amqp.AMQPDestinationNotFound)


class Connection(impl_rabbit.Connection):
    """A connection to the broker; one thread uses it at a time."""

    def _transform_transport_url(self, *args: Any, **kwargs: Any) -> str:
        url: str = super()._transform_transport_url(*args, **kwargs)
        return f'{frames.SCHEME}:{url.partition(":")[2]}'

    def ensure(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """See oslo.messaging; what it takes to repeat a step is made only when it has failed."""
        if self.channel is None:
            return super().ensure(method, *args, **kwargs)
        try:
            return method()
        except _ANSWERS:
            raise
        except Exception as exc:
            failures = [exc]

        def repeat() -> Any:
            if failures:
                raise failures.pop()
            return method()

        return super().ensure(repeat, *args, **kwargs)

    def consume(self, timeout: float | None = None) -> None:
        """See oslo.messaging.

        :param timeout: seconds.
        """
        super().consume(timeout if timeout is None else max(timeout, _PATIENCE))

    def _publish(
        self,
        exchange: entity.Exchange,
        msg: Any,
        routing_key: str | None = None,
        timeout: float | None = None,
        transport_options: Any = None,
    ) -> None:
        if not (exchange.passive or exchange.name in self._declared_exchanges) or self.kombu_compression:
            super()._publish(exchange, msg, routing_key, timeout, transport_options)
            return
        self.channel.publish_json(
            exchange.name,
            routing_key or '',
            json.dumps(msg).encode(),
            mandatory=bool(transport_options and transport_options.at_least_once),
            expiration=timeout,
            timeout=timeout if timeout is None else min(timeout, self.heartbeat_timeout_threshold or timeout),
        )


class Incoming(amqpdriver.AMQPIncomingMessage):
    """A call; its caller is told that it is being worked on by one thread for all calls."""

    client_timeout: int | None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # oslo.messaging would start a thread for this call alone.
        self.pause = int(self.client_timeout or 0) / 2
        self.client_timeout = None

    def acknowledge(self) -> None:
        """Note that it is carried out from now on (the broker was told before)."""
        if self.pause:
            self.listener.driver.pulse.add(self)

    def reply(self, reply: Any = None, failure: Any = None) -> None:
        """See oslo.messaging."""
        self.listener.driver.pulse.remove(self)
        super().reply(reply, failure)


class Pulse:
    """Tells callers that their calls are still being worked on."""

    def __init__(self) -> None:
        self._due: dict[Incoming, float] = {}
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False

    def stop(self) -> None:
        """Let the thread end; nobody waits for it."""
        self._ended = True
        self._busy.set()

    def add(self, call: Incoming) -> None:
        """Begin with a call."""
        with self._lock:
            self._due[call] = time.monotonic() + call.pause
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='rpc-pulse', daemon=True)
                self._thread.start()
        if not self._busy.is_set():
            self._busy.set()

    def remove(self, call: Incoming) -> None:
        """End with a call, whether it was begun with or not."""
        with self._lock:
            self._due.pop(call, None)

    def _run(self) -> None:
        while self._busy.wait() and not self._ended:
            time.sleep(_TICK)
            with self._lock:
                now = time.monotonic()
                due = [call for call, at in self._due.items() if at <= now]
                self._due |= {call: now + call.pause for call in due}
                if not self._due:
                    self._busy.clear()
            for call in due:
                self._beat(call)

    def _beat(self, call: Incoming) -> None:
        try:
            call.heartbeat()
        except Exception as exc:  # a dead broker or caller; the caller runs out of time by itself
            LOG.debug('A caller cannot be told that its call goes on: %s', exc)
            self.remove(call)


class RabbitDriver(impl_rabbit.RabbitDriver):
    """The driver for URLs that begin with ``rabbit:``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection_pool.connection_cls = Connection
        self.pulse = Pulse()

    def listen(self, *args: Any, **kwargs: Any) -> Any:
        """See oslo.messaging."""
        adapter = super().listen(*args, **kwargs)
        adapter._poll_style_listener.message_cls = Incoming
        return adapter

    def cleanup(self) -> None:
        """See oslo.messaging."""
        self.pulse.stop()
        super().cleanup()
