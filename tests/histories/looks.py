# SPDX-License-Identifier: Apache-2.0
"""What a person sees who asks the doctor while part of the truth is gone, and what must not be among it."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from multiattach.domain.findings import Outcome
from tests.testbed.polling import look_until

if TYPE_CHECKING:
    from tests.histories.field import Field


class Looks:
    """Asks the doctor, and keeps what is wrong.

    :param field: the deployment.
    :param pause: seconds between two questions.
    """

    def __init__(self, field: 'Field', pause: float) -> None:
        self._field = field
        self._pause = pause
        self.wrong: list[str] = []

    def diagnose(self, fix: bool = False) -> Mapping[str, Any]:
        """Ask once; with ``fix`` for repairs as well."""
        code, told = self._field.ask('POST', '/v3/multiattach/doctor', {'doctor': {'fix': fix}})
        assert code == 200, told
        return dict(told['doctor'])

    def await_(self, condition: Callable[[Mapping[str, Any]], bool], patience: float, words: str) -> None:
        """Ask until what is found is as it should be; it is wrong when it is not after ``patience`` s."""
        found = look_until(self.diagnose, condition, patience, self._pause)
        if not condition(found):
            self.wrong.append(f'{words}: {str(found)[:2000]}')

    def ask_repairs(self, rounds: int, pause: float, surroundings: str) -> Mapping[str, Any]:
        """Look some times, and ask for repairs the last time; nothing may be repaired, nor be tried to be.

        :param rounds: how often.
        :param pause: seconds after each.
        :param surroundings: "with an empty libvirt", for what is wrong.
        :returns: what was found at last.
        """
        for number in range(rounds):
            found = self.diagnose(fix=number == rounds - 1)
            self.wrong += find_repairs(found, surroundings)
            time.sleep(pause)
        return found

    def explain(self, attachment_id: str, kind: str, words: str) -> None:
        """Ask why an attachment is as it is; the answer has to name a kind of drift."""
        code, told = self._field.ask('GET', f'/v3/multiattach/attachments/{attachment_id}/explain?live=true')
        if code != 200 or kind not in str(told):
            self.wrong.append(f'{words}: {code} {str(told)[:2000]}')


def find_repairs(found: Mapping[str, Any], surroundings: str) -> list[str]:
    """Look for what was repaired, or tried to be, in an answer of the doctor.

    :param surroundings: what the text begins with.
    """
    return [
        f'{surroundings} {one["kind"]} {one["about"]} is {one["outcome"]}: {one["error"]}'
        for one in found['findings']
        if one['outcome'] in (Outcome.REPAIRED, Outcome.FAILED)
    ]
