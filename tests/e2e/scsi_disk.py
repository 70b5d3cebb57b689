# SPDX-License-Identifier: Apache-2.0
"""What a guest does with a disk that is passed through to it."""

from tests.testbed.guest import Guest

SLOW = 300  # s, for what emulated processors do


class ScsiDisk:
    """:param path: of its node in the guest."""

    def __init__(self, guest: Guest, path: str) -> None:
        self.guest = guest
        self.path = path

    def ask(self, *words: str) -> tuple[int, str]:
        """Run sg_persist.

        :returns: its exit code, and what it said.
        """
        # The first command of a new session, and after others changed something, is answered with that news.
        return self.guest.run(f'for i in 1 2 3; do sg_persist -n {" ".join(words)} {self.path} >/tmp/o 2>&1; c=$?; '
                              '[ $c = 6 ] || break; done; cat /tmp/o; exit $c', timeout=SLOW)  # fmt: skip

    def do(self, *words: str) -> str:
        code, output = self.ask('--out', *words)
        assert code == 0, (words, output)
        return output

    def tell(self, what: str) -> str:
        code, output = self.ask('--in', what)
        assert code == 0, (what, output)
        return output

    @property
    def rights(self) -> str:
        """``r`` and ``w`` if the guest may read and write."""
        found = ''
        for right, words in (
            ('r', f'if={self.path} of=/dev/null iflag=direct'),
            ('w', f'if=/dev/zero of={self.path} oflag=direct'),
        ):
            command = f'dd {words} bs=4096 count=1 2>&1'
            code, _output = self.guest.run(f'{command} || {command}', timeout=SLOW)
            found += right if code == 0 else ''
        return found
