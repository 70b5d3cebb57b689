# SPDX-License-Identifier: Apache-2.0
"""The RPC transport and its servers."""

import concurrent.futures
import functools
from collections.abc import Mapping
from typing import Any

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_messaging._drivers import impl_rabbit
from oslo_messaging.rpc.server import RPCServer
from oslo_messaging.transport import RPCTransport

from multiattach import request_ids
from multiattach.domain import errors
from multiattach.rpc import rabbit

ALLOWED_REMOTE = ['multiattach.domain.errors']


class ContextSerializer(messaging.Serializer):
    """Puts the ids of a call into the thread that answers it."""

    def serialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return entity

    def deserialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return entity

    def serialize_context(self, ctxt: Any) -> Any:
        return ctxt

    def deserialize_context(self, ctxt: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a context as it is, and have it logged with each line of this thread."""
        request_ids.bind(ctxt)
        return ctxt


def make_transport(conf: cfg.ConfigOpts) -> messaging.Transport:
    """Open the transport of ``[DEFAULT] transport_url``.

    :raises ConfigurationError: the URL names no driver or cannot be read.
    """
    try:
        made = messaging.get_rpc_transport(conf, allowed_remote_exmods=ALLOWED_REMOTE)
    except (messaging.DriverLoadFailure, messaging.InvalidTransportURL) as exc:
        raise errors.ConfigurationError(
            'Option transport_url in [DEFAULT] cannot be used: give a URL such as '
            f'rabbit://USER:PASSWORD@HOST:5672/ or inproc://. ({type(exc).__name__})'
        ) from exc
    driver = made._driver
    if type(driver) is not impl_rabbit.RabbitDriver:
        return made
    # It has opened nothing yet.
    return RPCTransport(rabbit.RabbitDriver(conf, driver._url, conf.control_exchange, ALLOWED_REMOTE))


def make_notification_transport(conf: cfg.ConfigOpts) -> messaging.Transport:
    """Open the transport of notifications: ``[oslo_messaging_notifications]``, else the one of RPC.

    :raises ConfigurationError: the URL names no driver or cannot be read.
    """
    try:
        return messaging.get_notification_transport(conf)
    except (messaging.DriverLoadFailure, messaging.InvalidTransportURL) as exc:
        raise errors.ConfigurationError(
            'Option transport_url in [oslo_messaging_notifications] cannot be used: give a URL such as '
            f'rabbit://USER:PASSWORD@HOST:5672/. ({type(exc).__name__})'
        ) from exc


class Server(RPCServer):
    """An RPC server with as many threads as there ever were calls at once.

    The library's executor starts one for each call up to its limit, and each looks once a second whether it is
    to end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.executor_type == 'threading':
            self._executor_cls = functools.partial(concurrent.futures.ThreadPoolExecutor, thread_name_prefix='calls')


def make_server(
    transport: messaging.Transport, topic: str, server: str, endpoint: Any
) -> messaging.MessageHandlingServer:
    """Make an RPC server; it is not started yet."""
    target = messaging.Target(topic=topic, server=server, version='1.0')
    return messaging.get_rpc_server(
        transport,
        target,
        [endpoint],
        serializer=ContextSerializer(),
        access_policy=messaging.ExplicitRPCAccessPolicy,
        server_cls=Server,
    )
