# SPDX-License-Identifier: Apache-2.0
"""``multiattach-manage doctor``: drift everywhere, told and put right, over RPC or the API of standalone."""

import json
from collections.abc import Iterator
from typing import Any

from keystoneauth1 import exceptions, session as auth_session, token_endpoint
from oslo_config import cfg

from multiattach import listening
from multiattach.api.block import doctor as views
from multiattach.cmd import parts
from multiattach.domain import errors

_TIMEOUT = 300


def examine(conf: cfg.ConfigOpts) -> int:
    """Have every worker and agent look for drift, put it right if asked to, and tell of it.

    :returns: exit status: 0 if nothing is left and everybody answered, and there was somebody.
    :raises ConfigurationError: nobody can be asked with this configuration.
    """
    command = conf.command
    if command.release and not command.fix:
        raise errors.ConfigurationError('--release goes with --fix.')
    inside = (conf.transport_url or '').startswith('inproc:') or not conf.transport_url
    if command.url or inside:
        url = command.url or 'http://' + str(
            listening.Address(listening.find_near(conf.api.listen_host), conf.api.listen_port)
        )
        if inside and command.format == 'table':
            print(f'All parts run inside multiattach-standalone: its API at {url} is asked.')
        found = _ask_api(conf, url, fix=command.fix, release=command.release)
    else:
        found = _ask_rpc(conf, fix=command.fix, release=command.release)
    if command.format == 'json':
        print(json.dumps(found, indent=1))
    else:
        for line in _write(found):
            print(line)
    return 1 if found['left'] or found['unanswered'] or not found['answered'] else 0


def _ask_rpc(conf: cfg.ConfigOpts, *, fix: bool, release: list[str]) -> dict[str, Any]:
    db = parts.ask_database(conf)
    rpc = parts.open_transport(conf)
    try:
        return views.diagnosis(parts.build_engine(conf, db, rpc).doctor.examine(fix=fix, release=release))
    finally:
        rpc.cleanup()
        db.close()


def _ask_api(conf: cfg.ConfigOpts, url: str, *, fix: bool, release: list[str]) -> dict[str, Any]:
    if conf.api.auth_strategy == 'keystone':
        raise errors.ConfigurationError(
            'Option transport_url in [DEFAULT]: workers and agents inside another process can be asked '
            'through its API only, which wants a token: use "openstack multiattach doctor".'
        )
    wish = {'fix': fix, **({'release': release} if release else {})}
    url = url.rstrip('/')
    api = auth_session.Session(auth=token_endpoint.Token(url, 'admin'), timeout=_TIMEOUT)
    try:
        answer: dict[str, Any] = api.post(f'{url}/v3/multiattach/doctor', json={'doctor': wish}).json()['doctor']
        return answer
    except (exceptions.ClientException, ValueError, LookupError) as exc:
        raise errors.ConfigurationError(
            f'The API at {url} does not answer ({exc}): is multiattach-standalone running? Say --url '
            'http://HOST:PORT if it listens elsewhere than [api] listen_host and listen_port.'
        ) from exc


def _write(found: dict[str, Any]) -> Iterator[str]:
    for one in found['findings']:
        where = ' '.join(
            f'{name} {one[key]}' for name, key in (('volume', 'volume_id'), ('attachment', 'attachment_id')) if one[key]
        )
        yield f'{one["kind"]} on {one["host"]}: {where} {one["about"]}'.rstrip()
        yield f'    {one["text"]} Since {one["since"]}.'
        yield f'    {_tell(one)}'
    for one in found['unanswered']:
        yield f'No answer from {one["binary"]} on {one["host"]}: {one["reason"]}'
    if not found['answered'] and not found['unanswered']:
        yield 'Nobody was there to ask: no volume worker and no host agent is registered.'
    number = len(found['findings'])
    yield (
        f'{number or "No"} difference{"" if number == 1 else "s"} found by {found["answered"]} workers '
        f'and agents, {found["left"]} left, {len(found["unanswered"])} without an answer.'
    )


def _tell(one: dict[str, Any]) -> str:
    return {
        'found': f'To be done (--fix does it now): {one["step"]}',
        'repaired': f'Done: {one["step"]}',
        'failed': f'Not done: {one["error"]}',
        'waiting': f'To be done later: {one["error"] or one["step"]}',
        'reported': f'Nothing is done by itself. What there is to do: {one["step"]}',
    }[one['outcome']]
