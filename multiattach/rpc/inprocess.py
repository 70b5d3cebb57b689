# SPDX-License-Identifier: Apache-2.0
"""RPC inside one process, for the embedded deployment (``transport_url = inproc://``).

oslo.messaging's ``fake://`` polls every 50 ms; here a listener waits on its queue.
"""

import queue
import threading
from typing import Any, ClassVar

import oslo_messaging
from oslo_messaging._drivers import base
from oslo_serialization import jsonutils

_STOP = object()


class _Exchange:
    """Queues by topic and server; messages for a server that is not there yet wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[tuple[str, str], queue.SimpleQueue[Any]] = {}

    def get(self, topic: str, server: str) -> 'queue.SimpleQueue[Any]':
        with self._lock:
            return self._queues.setdefault((topic, server), queue.SimpleQueue())

    def clear(self) -> None:
        with self._lock:
            self._queues.clear()


class _Incoming(base.RpcIncomingMessage):
    def __init__(self, ctxt: Any, message: Any, reply: Any) -> None:
        super().__init__(ctxt, message)
        self._reply = reply

    def reply(self, reply: Any = None, failure: Any = None) -> None:
        if self._reply is not None:
            self._reply.put((reply, failure[1] if failure else None))

    def requeue(self) -> None:
        """A message taken here is handled here."""

    def heartbeat(self) -> None:
        """Caller and server share a process: no sign of life is needed."""


class _Listener(base.PollStyleListener):
    def __init__(self, inbox: 'queue.SimpleQueue[Any]') -> None:
        super().__init__()
        self._inbox = inbox
        self._stopped = False

    @base.batch_poll_helper
    def poll(self, timeout: float | None = None) -> Any:
        if self._stopped:
            return None
        try:
            item = self._inbox.get(timeout=timeout)
        except queue.Empty:
            return None
        if item is _STOP:
            return None
        return _Incoming(*item)

    def stop(self) -> None:
        self._stopped = True
        self._inbox.put(_STOP)


class InProcessDriver(base.BaseDriver):
    """oslo.messaging driver of the ``inproc`` scheme; RPC to named servers only.

    Those who use the same URL reach each other: ``inproc://``, or ``inproc:///NAME``.
    """

    _exchanges: ClassVar[dict[str, _Exchange]] = {}
    _exchanges_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self, conf: Any, url: Any, default_exchange: str | None = None, allowed_remote_exmods: Any = None
    ) -> None:
        super().__init__(conf, url, default_exchange, allowed_remote_exmods)
        # Two deployments of one process (tests) must not take each other's messages.
        name = url.virtual_host or ''
        with self._exchanges_lock:
            self._exchange = self._exchanges.setdefault(name, _Exchange())

    def require_features(self, requeue: bool = True) -> None: ...

    def send(
        self,
        target: Any,
        ctxt: Any,
        message: Any,
        wait_for_reply: bool | None = None,
        timeout: float | None = None,
        call_monitor_timeout: float | None = None,
        retry: int | None = None,
        transport_options: Any = None,
    ) -> Any:
        """Put a message into a server's queue and wait for the answer if there is one."""
        jsonutils.dumps(message)  # what a broker could not carry must not pass here either
        answers: queue.SimpleQueue[Any] | None = queue.SimpleQueue() if wait_for_reply else None
        self._exchange.get(target.topic, target.server).put((ctxt, message, answers))
        if answers is None:
            return None
        try:
            reply, failure = answers.get(timeout=timeout)
        except queue.Empty:
            raise oslo_messaging.MessagingTimeout(f'No reply on topic {target.topic}') from None
        if failure is not None:
            raise failure
        return reply

    def send_notification(self, target: Any, ctxt: Any, message: Any, version: Any, retry: int | None = None) -> None:
        """Drop a notification: nobody else lives in this process."""

    def listen(self, target: Any, batch_size: int, batch_timeout: float) -> Any:
        listener = _Listener(self._exchange.get(target.topic, target.server))
        return base.PollStyleListenerAdapter(listener, batch_size, batch_timeout)

    def listen_for_notifications(
        self, targets_and_priorities: Any, pool: Any, batch_size: int, batch_timeout: float
    ) -> Any:
        """Refuse: notifications need a broker."""
        raise NotImplementedError('inproc:// carries no notifications; use a broker')

    def cleanup(self) -> None:
        self._exchange.clear()
