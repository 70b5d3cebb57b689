# SPDX-License-Identifier: Apache-2.0
"""Whether the broker of a transport URL takes a connection, with all its options; what its refusals mean."""

import contextlib
import re

import oslo_messaging as messaging
from oslo_messaging._drivers import common, impl_rabbit

from multiattach.domain import errors
from multiattach.probe import Probe

_TIMEOUT = 15.0
_CLOSE_TIMEOUT = 5.0


def check(transport: messaging.Transport) -> None:
    """Open a connection as the RPC driver does, and close it. Drivers other than rabbit are believed.

    :raises ConfigurationError: the broker does not take it; the message says no password.
    """
    driver = transport._driver
    if not isinstance(driver, impl_rabbit.RabbitDriver):
        return
    url = driver._url
    names = ', '.join(f'{host.hostname}:{host.port or 5672}' for host in url.hosts)
    try:
        # One try at each node of a cluster.
        connect = driver._connection_pool.connection_cls
        connect(driver.conf, url, common.PURPOSE_LISTEN, retry=max(len(url.hosts) - 1, 0)).close()
    except Exception as exc:
        raise errors.ConfigurationError(
            f'Option transport_url in [DEFAULT]: the broker at {names} takes no connection '
            f'({type(exc).__name__}): check that it runs, and user, password and virtual host.'
        ) from exc


def check_in_time(transport: messaging.Transport, timeout: float = _TIMEOUT) -> None:
    """Do the same, but do not wait for ever."""
    try:
        Probe(lambda: check(transport), timeout, 0.0).ask()
    except TimeoutError:
        raise errors.ConfigurationError(
            f'Option transport_url in [DEFAULT]: the broker does not answer within {timeout:g} s: check '
            'the address, and that it runs.'
        ) from None


def close(transport: messaging.Transport) -> None:
    """Close a transport at the end of a program; a broker that is away is not waited for."""
    with contextlib.suppress(TimeoutError):
        Probe(transport.cleanup, _CLOSE_TIMEOUT, 0.0).ask()


class ReplyQueue:
    """The queue for the answers to this process's calls.

    The driver makes it with the first call and, if the broker is away, tries that for ever, whatever the
    call's timeout: each request would take a thread until the broker is back.

    :param transport: RPC transport; with drivers other than rabbit there is nothing to wait for.
    """

    def __init__(self, transport: messaging.Transport, timeout: float) -> None:
        driver = transport._driver
        self._making: Probe[str] | None = None
        if isinstance(driver, impl_rabbit.RabbitDriver):
            self._making = Probe(driver._get_reply_q, timeout, 0.0)

    def await_ready(self) -> None:
        """Return when it is there.

        :raises MessagingTimeout: it is not, and nothing was sent.
        """
        making = self._making
        if making is None:
            return
        try:
            making.ask()
        except TimeoutError:
            raise messaging.MessagingTimeout('The broker does not answer.') from None
        self._making = None


def explain_refusal(failure: Exception) -> None:
    """Say what to do about a queue or exchange that cannot be declared again as it is configured now.

    Queues cannot change their kind (AMQP 0-9-1, queue.declare: reply code 406 "precondition-failed").

    :param failure: what was raised; nothing is done about any other failure.
    :raises ConfigurationError: the broker has it in another kind.
    """
    found = re.search(r"PRECONDITION_FAILED - (inequivalent arg '[\w-]+' for \w+ '[^']*')", str(failure))
    if found is None:
        return
    raise errors.ConfigurationError(
        f'The broker has queues of another kind than is configured ({found[1]}). Set rabbit_quorum_queue '
        'and amqp_durable_queues in [oslo_messaging_rabbit] to what they were when these were made; or stop '
        'all programs and make the virtual host anew (rabbitmqctl delete_vhost, add_vhost, set_permissions); '
        'or name another virtual host in transport_url of [DEFAULT].'
    ) from failure
