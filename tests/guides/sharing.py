# SPDX-License-Identifier: Apache-2.0
"""doc/source/user/sharing.rst, typed into servers, and where the client is."""

import concurrent.futures
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from tests.guides.text import TOP, Block, read_blocks
from tests.testbed.guest import Guest

PAGE = TOP / 'doc/source/user/sharing.rst'
_WHERE = re.compile(r'\bon ``(\w+)``(?: and ``(\w+)``)?::$', re.IGNORECASE)
# What is typed when a program asks; the others have no terminal.
_ANSWERS = {'mkfs.ext4': 'N\n'}


def read_steps(*sections: str) -> list[tuple[Block, tuple[str, ...]]]:
    """Read what is typed in some sections.

    :returns: blocks of commands, and of each the lines that have to be shown.
    """
    blocks = [block for block in read_blocks(PAGE) if block.section in sections]
    assert {block.section for block in blocks} == set(sections)
    found = []
    for block, following in pairwise([*blocks, Block('', 'shell', '', '', '')]):
        assert block.kind in ('shell', 'text'), block
        if block.kind == 'shell':
            shown = following.text.splitlines() if following.kind == 'text' else []
            found.append((block, tuple(line.strip() for line in shown)))
    return found


def find_places(block: Block) -> list[str]:
    """Find the servers that a block is typed at, "" for where the client is."""
    where = _WHERE.search(block.prose)
    return [one for one in where.groups() if one] if where else ['']


class Reader:
    """Somebody who follows the page.

    :param servers: by their names on the page.
    :param run: runs a script where the client is, and returns its exit code and what was shown.
    """

    def __init__(self, servers: Mapping[str, Guest], run: Callable[[str], tuple[int, str]]) -> None:
        self._servers = servers
        self._run = run
        self._exports: dict[str, list[str]] = {name: [] for name in ('', *servers)}
        #: what is typed, and shown, instead of something on the page
        self.replaced: dict[str, str] = {}

    def follow(self, *sections: str, leave_out: Iterable[str] = ()) -> None:
        """Type all of some sections.

        :param leave_out: servers that cannot be typed at; "" for the client.
        """
        for block, shown in read_steps(*sections):
            self.type(block, shown, leave_out)

    def type(self, block: Block, shown: tuple[str, ...] = (), leave_out: Iterable[str] = ()) -> list[str]:
        """Type a block of commands at each place that its paragraph names.

        Where the page says what is shown it has to be shown, be it by an error; else no command may fail.

        :returns: what was shown at each of them.
        """
        text, shown = self._replace(block.text), tuple(map(self._replace, shown))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            jobs = [pool.submit(self._type_at, name, text) for name in find_places(block) if name not in leave_out]
        done = [job.result() for job in jobs]
        for code, said in done:
            flat = ' '.join(said.split())
            assert all(' '.join(line.split()) in flat for line in shown), said
            assert shown or code == 0, said
        return [said for _, said in done]

    def _replace(self, text: str) -> str:
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def _type_at(self, name: str, text: str) -> tuple[int, str]:
        start = time.monotonic()
        code, said = self._type_script(name, text)
        seconds = time.monotonic() - start
        print(f'{name or "client"} ({seconds:.1f} s, exit code {code})\n# {text}{said}', flush=True)
        return code, said

    def _type_script(self, name: str, text: str) -> tuple[int, str]:
        exports = self._exports[name]
        script = ''.join(f'{line}\n' for line in ['set -e', *exports, text])
        exports += [line for line in text.splitlines() if line.startswith('export ')]
        if not name:
            return self._run(script)
        guest = self._servers[name]
        answer = _ANSWERS.get(text.split()[0])
        if answer is not None:  # at a terminal
            return guest.run(f'script -qec {shlex.quote(text)} /dev/null', answer.encode(), 300)
        return guest.run(script, timeout=600)
