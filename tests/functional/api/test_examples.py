# SPDX-License-Identifier: Apache-2.0
"""The requests of doc/source/reference/examples.rst are sent in their order, and answered as the page says."""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.functional.api.conftest import Caller

PAGE = pathlib.Path(__file__).parents[3] / 'doc' / 'source' / 'reference' / 'examples.rst'
_UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')
_TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?')
# What differs from one deployment to the next, or with the time.
_ANY = frozenset(
    {'auth_username', 'auth_password', 'target_portal', 'os-vol-host-attr:host', 'user_id', 'links', 'updated_at'}
)


class Example(NamedTuple):
    method: str
    path: str
    body: Any
    status: int
    reply: Any


def read_examples(text: str) -> Iterator[Example]:
    pattern = re.compile(r'^    ([A-Z]+) /v3(/\S*)$(.*?)^    HTTP (\d{3})$(.*?)(?=^\S|\Z)', re.MULTILINE | re.DOTALL)
    for method, path, body, status, reply in pattern.findall(text):
        yield Example(
            method,
            path,
            json.loads(body) if body.strip() else None,
            int(status),
            json.loads(reply) if reply.strip() else None,
        )


class Names:
    """Ids of the page and those that stand for them here."""

    def __init__(self) -> None:
        self._here: dict[str, str] = {}

    def put_in(self, value: Any) -> Any:
        return json.loads(_UUID.sub(lambda found: self._here.get(found[0], found[0]), json.dumps(value)))

    def compare(self, said: Any, here: Any, where: str) -> None:
        """Check that a reply is the one of the page; a new id of the page is one of here from now on."""
        if isinstance(said, dict):
            assert said.keys() == here.keys(), where
            for name in said.keys() - _ANY:
                self.compare(said[name], here[name], f'{where}.{name}')
        elif isinstance(said, list):
            assert len(said) == len(here), where
            for number, (one, other) in enumerate(zip(said, here, strict=True)):
                self.compare(one, other, f'{where}[{number}]')
        elif isinstance(said, str) and _TIME.fullmatch(said):
            assert _TIME.fullmatch(here), where
        elif isinstance(said, str) and isinstance(here, str):
            for ident, found in zip(_UUID.findall(said), _UUID.findall(here), strict=True):
                assert self._here.setdefault(ident, found) == found, where
            assert _UUID.sub('', said) == _UUID.sub('', here), where
        else:
            assert said == here, where


def test_the_examples_of_the_page(call: Caller) -> None:
    examples = list(read_examples(PAGE.read_text()))
    assert len(examples) >= 10
    names = Names()
    for example in examples:
        where = f'{example.method} {example.path}'
        reply = call(example.method, names.put_in(example.path), names.put_in(example.body))
        assert reply.status_int == example.status, (where, reply.text)
        assert bool(reply.body) == (example.reply is not None), where
        if example.reply is not None:
            names.compare(example.reply, reply.json, where)
        if where == 'POST /volumes':
            call.deployed.wait(lambda made=reply.json['volume']['id']: call.show(made)['status'] == 'available')
