# SPDX-License-Identifier: Apache-2.0
"""Connections of this host to a portal that leads nowhere, redirected to another one by the host's packet filter.

An initiator keeps to the portal that it once logged in at, the kernel's as well as QEMU's, and tries it for ever. All
gateways have a volume's target under one name and with the same accounts: one that is reached at another's address
takes the login.
"""

import os
import re
import subprocess
from collections.abc import Collection, Mapping

from oslo_log import log

from multiattach.drivers.connectors.portal import split_portal
from multiattach.drivers.errors import ConnectorError

LOG = log.getLogger(__name__)

_CHAIN = 'MULTIATTACH'
_TRACKING = ('-m', 'conntrack', '--ctstate', 'INVALID', '-j', 'RETURN')
_TIMEOUT = 10.0  # s
_RULE = re.compile(
    rf'-A {_CHAIN} -d (?P<address>[^ /]+)/\d+ -p tcp -m tcp --dport (?P<port>\d+) -j DNAT --to-destination (?P<via>\S+)'
)


class Redirects:
    """The rules of one host; a chain of their own keeps them apart from all others."""

    def __init__(self, root_helper: str = 'sudo') -> None:
        self._prefix = [] if os.geteuid() == 0 else root_helper.split()
        self._applied: dict[str, str] | None = None  # as of the last change; None before the first look

    def apply(self, wanted: Mapping[str, str], lost: Collection[str]) -> None:
        """Have connections to some portals go to others; those that lead nowhere any more are ended.

        :param wanted: by portal another one, ``ADDRESS:PORT``, brackets around IPv6.
        :param lost: portals at which nobody is to be reached.
        :raises ConnectorError: a command failed.
        """
        if self._applied == wanted:
            return
        before = self._read()
        for portal, via in before.items():
            if wanted.get(portal) != via:
                self._change('-D', portal, via)
        for portal, via in wanted.items():
            if before.get(portal) != via:
                self._change('-A', portal, via)
        self._applied = dict(wanted)
        for portal in sorted({*before, *wanted}):
            via = before.get(portal, portal)
            if wanted.get(portal, portal) != via and via in lost:
                LOG.warning('Connections to %s go to %s from now on', portal, wanted.get(portal, portal))
                self._end_connections(portal)

    def _read(self) -> dict[str, str]:
        found = {}
        for program in ('iptables', 'ip6tables'):
            try:
                text = self._run(program, '-w', '-t', 'nat', '-S', _CHAIN)
            except ConnectorError:
                continue  # no such chain, or no such program: nothing is redirected
            for rule in _RULE.finditer(text):
                address = rule['address']
                found[f'[{address}]:{rule["port"]}' if ':' in address else f'{address}:{rule["port"]}'] = rule['via']
        return found

    def _change(self, verb: str, portal: str, via: str) -> None:
        address, port = split_portal(portal)
        program = 'ip6tables' if ':' in address else 'iptables'
        if verb == '-A':
            self._make_chain(program)
        words = ['-d', address, '-p', 'tcp', '--dport', str(port), '-j', 'DNAT', '--to-destination', via]
        self._run(program, '-w', '-t', 'nat', verb, _CHAIN, *words)

    def _make_chain(self, program: str) -> None:
        # The second rule does nothing. It has the kernel track connections: it would forget the ones that were
        # redirected with the last rule that needs it, and they would break.
        for test, make in (
            (('-S', _CHAIN), ('-N', _CHAIN)),
            (('-C', _CHAIN, *_TRACKING), ('-A', _CHAIN, *_TRACKING)),
            (('-C', 'OUTPUT', '-j', _CHAIN), ('-A', 'OUTPUT', '-j', _CHAIN)),
        ):
            try:
                self._run(program, '-w', '-t', 'nat', *test)
            except ConnectorError:
                self._run(program, '-w', '-t', 'nat', *make)

    def _end_connections(self, portal: str) -> None:
        """End what would wait for time-outs; where the kernel cannot, it waits for them."""
        address, port = split_portal(portal)
        try:
            self._run('ss', '-K', 'dst', f'[{address}]:{port}' if ':' in address else f'{address}:{port}')
        except ConnectorError as exc:
            LOG.info('Connections to %s end by themselves: %s', portal, exc)

    def _run(self, program: str, *words: str) -> str:
        try:
            done = subprocess.run(
                [*self._prefix, program, *words], capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise ConnectorError(f'{program} cannot be run: {exc}') from exc
        if done.returncode:
            raise ConnectorError(f'{program} {" ".join(words)} failed: {done.stderr.strip()}')
        return done.stdout
