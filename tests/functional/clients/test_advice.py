# SPDX-License-Identifier: Apache-2.0
"""Each command that the service advises is run, as it is written, by the real client."""

import ast
import pathlib
import re
import shlex
import uuid

import pytest

import multiattach
from tests.functional.clients.cloud import Cloud
from tests.functional.compute import compute_host

_PACKAGE = pathlib.Path(multiattach.__file__).parent
# The client's own texts are examples of other commands, and checked where they are; what a take-over advises is for
# Cinder.
_ELSEWHERE = {'osc', 'client', 'cmd', 'takeover'}
_COMMAND = re.compile(r'openstack (?:--os-[a-z-]+ \S+ )?(?:volume|server|multiattach)\b[^",(.\n]*')
_AFTER = re.compile(r' (?:says why|needs|for any)\b.*| +$')


def _read_texts(path: pathlib.Path) -> list[str]:
    """Read the texts of a module, without docstrings; what is put into a text is ``X``."""
    tree = ast.parse(path.read_text())
    known = {
        key: value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for key, value in [(getattr(node.targets[0], 'id', ''), node.value)]
    }
    skipped = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }

    def fill(value: ast.expr) -> str:
        if isinstance(value, ast.Constant):
            return str(value.value)
        inner = value.value if isinstance(value, ast.FormattedValue) else value
        named = known.get(getattr(inner, 'id', ''))
        return named.value if isinstance(named, ast.Constant) and isinstance(named.value, str) else 'X'

    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append(''.join(fill(value) for value in node.values))
            skipped |= {id(value) for value in node.values}
    texts += [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped
    ]
    return texts


def find_commands() -> set[str]:
    return {
        _AFTER.sub('', found)
        for path in _PACKAGE.rglob('*.py')
        if path.relative_to(_PACKAGE).parts[0] not in _ELSEWHERE
        for text in _read_texts(path)
        for found in _COMMAND.findall(text)
    }


ADVISED = {
    'openstack --os-volume-api-version 3.27 volume attachment delete {id}',
    'openstack --os-volume-api-version 3.3 volume message list',
    'openstack server remove volume SERVER VOLUME',
    'openstack volume delete',
    'openstack volume delete --force VOLUME',
    'openstack volume set --state X VOLUME',
    'openstack volume set --state available VOLUME',
    'openstack volume transfer request delete TRANSFER',
    'openstack multiattach doctor --fix',
    'openstack multiattach doctor --fix --release X',
    'openstack multiattach host fence X --out-of-service',
    'openstack multiattach host unfence X',
}


def test_nothing_else_is_advised() -> None:
    assert find_commands() == ADVISED


def run(cloud: Cloud, advised: str, **names: str) -> None:
    """Run a command as it is written, with names in place of the words that stand for them."""
    assert advised in ADVISED
    words = advised.format(id=names.get('id', '')).split()[1:]
    cloud.openstack(*(names.get(word, word) for word in words))


def test_on_volumes(cloud: Cloud, shared: str) -> None:
    name = str(uuid.uuid4())
    cloud.openstack('volume', 'create', '--size', '1', '--type', shared, name)
    cloud.wait(name, 'available')
    run(cloud, 'openstack --os-volume-api-version 3.3 volume message list')
    cloud.openstack('volume', 'set', '--state', 'error', name)
    run(cloud, 'openstack volume set --state available VOLUME', VOLUME=name)
    assert cloud.show(name)['status'] == 'available'
    storage = cloud.connect().block_storage
    ident = storage.find_volume(name).id
    attachment = storage.create_attachment(ident, instance=compute_host.IDLE, connector=None)
    run(cloud, 'openstack --os-volume-api-version 3.27 volume attachment delete {id}', id=attachment.id)
    assert cloud.show(name)['status'] == 'available'
    storage.post(f'/volumes/{ident}/action', json={'os-reserve': None})
    run(cloud, 'openstack volume set --state X VOLUME', X='available', VOLUME=name)
    assert cloud.show(name)['status'] == 'available'
    transfer = storage.create_transfer(volume_id=ident, name='to nobody').id
    run(cloud, 'openstack volume transfer request delete TRANSFER', TRANSFER=transfer)
    assert cloud.show(name)['status'] == 'available'
    cloud.openstack('volume', 'set', '--state', 'error', name)
    run(cloud, 'openstack volume delete --force VOLUME', VOLUME=name)


def test_on_servers(cloud: Cloud, volume: str) -> None:
    cloud.openstack('server', 'add', 'volume', compute_host.WEB, volume)
    cloud.wait(volume, 'in-use')
    run(cloud, 'openstack server remove volume SERVER VOLUME', SERVER=compute_host.WEB, VOLUME=volume)
    cloud.wait(volume, 'available')


def test_on_hosts(cloud: Cloud) -> None:
    run(cloud, 'openstack multiattach doctor --fix')
    run(cloud, 'openstack multiattach host fence X --out-of-service', X=compute_host.HOST)
    run(cloud, 'openstack multiattach host unfence X', X=compute_host.HOST)


@pytest.mark.parametrize('seal', ['0' * 12])
def test_release(cloud: Cloud, seal: str) -> None:
    run(cloud, 'openstack multiattach doctor --fix --release X', X=seal)


_TOP = pathlib.Path(__file__).parents[3]
# Document → the words before a command's own, and how many commands it has.
DOCUMENTS = {'README.rst': ('openstack --os-cloud multiattach ', 9), 'doc/source/user/tutorial.rst': ('openstack ', 10)}


@pytest.mark.parametrize('document', DOCUMENTS)
def test_a_document_is_followed_by_hand(cloud: Cloud, document: str) -> None:
    """Every command up to a volume that two servers share, and back."""
    start, number = DOCUMENTS[document]
    found = re.findall(rf'^ {{4,5}}{start}(.+)$', (_TOP / document).read_text(), re.MULTILINE)
    assert len(found) == number
    for line in found:
        words = shlex.split(line)
        told = cloud.openstack(*words).printed
        if words[:3] == ['server', 'add', 'volume']:
            cloud.wait_for_server('shared', {'web': compute_host.WEB, 'db': compute_host.DB}[words[3]])
        if words[:2] == ['volume', 'create']:
            cloud.wait('shared', 'available')
        if words[:2] == ['server', 'list']:
            assert all(name in told for name in ('web', 'db'))
        if 'attachments' in words:
            assert 'in-use' in told
            assert all(server in told for server in (compute_host.WEB, compute_host.DB))
    cloud.wait('shared', 'available')
    cloud.openstack('volume', 'delete', 'shared')
    cloud.openstack('volume', 'type', 'delete', 'multiattach')
