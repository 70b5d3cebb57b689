# SPDX-License-Identifier: Apache-2.0
"""Nova's own code, asked through a process that has it."""

import json
import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any

DRIVER = pathlib.Path(__file__).with_name('driver.py')


class NovaError(Exception):
    """What Nova's code raised.

    :param told: class, module, code and text of the exception.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(f'{told["module"]}.{told["class"]}: {told["text"]}\n{told["trace"]}')
        self.name = told['class']
        self.module = told['module']
        self.code = told['code']
        self.text = told['text']


class Nova:
    """One process of ``driver.py`` or a program like it, with the configuration of one Nova.

    :param python: interpreter that has the package ``nova``.
    :param folder: for configuration and log.
    :param configuration: text of ``nova.conf``.
    :param who: the callers by name, as ``driver.py`` takes them; None is Nova itself.
    :param program: what to run.
    """

    def __init__(
        self,
        python: pathlib.Path,
        folder: pathlib.Path,
        configuration: str,
        who: Mapping[str, dict[str, Any] | None],
        program: pathlib.Path = DRIVER,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        conf = folder / 'nova.conf'
        conf.touch(0o600)
        conf.write_text(configuration)
        self.who = who
        self.log = folder / 'nova.log'
        with self.log.open('w') as log:
            self._child = subprocess.Popen(
                [python, '-W', 'ignore', program, conf],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
            )

    def order(self, do: str, who: str | None = 'user', **words: Any) -> Any:
        """Give an order of ``driver.py``.

        :param do: its name.
        :param who: name of the caller, None for Nova itself.
        :param words: the rest.
        :returns: the answer.
        :raises NovaError: Nova's code raised something.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        order = {'do': do, 'who': self.who[who] if who else None, **words}
        self._child.stdin.write(json.dumps(order) + '\n')
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, f'the driver ended with {self._child.wait()}: {self.log.read_text()[-3000:]}'
        answer = json.loads(line)
        if 'error' in answer:
            raise NovaError(answer['error'])
        return answer['value']

    def call(self, name: str, *args: Any, who: str | None = 'user', **kwargs: Any) -> Any:
        """Call a method of ``nova.volume.cinder.API``; parameters as for :meth:`order`."""
        return self.order('call', who, name=name, args=args, kwargs=kwargs)

    def stop(self) -> None:
        """End the process."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(30)
        assert self._child.stdout is not None
        self._child.stdout.close()
