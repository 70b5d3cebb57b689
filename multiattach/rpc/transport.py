# SPDX-License-Identifier: Apache-2.0
"""The RPC transport and its servers."""

from typing import Any

import oslo_messaging as messaging
from oslo_config import cfg

from multiattach.domain import errors
from multiattach.rpc.context import ContextSerializer

ALLOWED_REMOTE = ['multiattach.domain.errors']


def make_transport(conf: cfg.ConfigOpts) -> messaging.Transport:
    """Open the transport of ``[DEFAULT] transport_url``.

    :returns: an RPC transport.
    :raises ConfigurationError: the URL names no driver or cannot be read.
    """
    try:
        return messaging.get_rpc_transport(conf, allowed_remote_exmods=ALLOWED_REMOTE)
    except (messaging.DriverLoadFailure, messaging.InvalidTransportURL) as exc:
        raise errors.ConfigurationError(
            'Option transport_url in [DEFAULT] cannot be used: give a URL such as '
            f'rabbit://USER:PASSWORD@HOST:5672/ or inproc://. ({type(exc).__name__})'
        ) from exc


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


def make_server(
    transport: messaging.Transport, topic: str, server: str, endpoint: Any
) -> messaging.MessageHandlingServer:
    """Make an RPC server; it is not started yet.

    :param topic: topic to listen on.
    :param server: name of this server, unique on the topic.
    :param endpoint: object whose methods are called.
    """
    target = messaging.Target(topic=topic, server=server, version='1.0')
    return messaging.get_rpc_server(
        transport, target, [endpoint], serializer=ContextSerializer(), access_policy=messaging.ExplicitRPCAccessPolicy
    )
