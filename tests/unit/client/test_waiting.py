# SPDX-License-Identifier: Apache-2.0
import time
from typing import Any

import pytest

from multiattach.client import waiting
from multiattach.client.resources import AttachmentExplanation


class Service:
    """Answers with one state after another, the last one for ever."""

    def __init__(self, *states: str, event: str = 'x', error: str | None = None) -> None:
        self._states = list(states)
        self._event, self._error = event, error

    def explain_attachment(self, _attachment_id: str) -> AttachmentExplanation:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return AttachmentExplanation(
            state=state,
            owner='host agent',
            next='NEXT',
            advice='ADVICE',
            error=None,
            timeline=[{'event': self._event, 'error': self._error}],
        )


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, 'sleep', lambda _seconds: None)


def run(wait: Any, service: Service, timeout: float = 30) -> tuple[str, list[str]]:
    seen: list[str] = []
    found = wait(service, 'A', timeout, lambda one: seen.append(one.state))
    return found.state, seen


def test_until_attached() -> None:
    assert run(waiting.wait_attached, Service('reserved', 'exporting', 'attached')) == (
        'attached',
        ['reserved', 'exporting', 'attached'],
    )


@pytest.mark.parametrize('state', ['error_attaching', 'error_detaching', 'detached'])
def test_an_attach_that_failed_says_why(state: str) -> None:
    with pytest.raises(waiting.StepFailed, match='The attach failed: no room\nADVICE'):
        run(waiting.wait_attached, Service('exporting', state, error='no room'))


def test_until_detached() -> None:
    service = Service('attached', 'detaching', 'unexporting', 'detached')
    assert run(waiting.wait_detached, service)[0] == 'detached'


@pytest.mark.parametrize(('state', 'event'), [('error_detaching', 'detach_failed'), ('attached', 'detach_refused')])
def test_a_detach_that_failed_says_why(state: str, event: str) -> None:
    with pytest.raises(waiting.StepFailed, match='The detach failed: the server kept it'):
        run(waiting.wait_detached, Service(state, event=event, error='the server kept it'))


@pytest.mark.parametrize('wait', [waiting.wait_attached, waiting.wait_detached])
def test_what_does_not_end_in_time_goes_on(wait: Any) -> None:
    with pytest.raises(waiting.StepFailed, match=r'it goes on\. Next: NEXT\nADVICE'):
        run(wait, Service('exporting'), timeout=-1)


def test_a_failure_without_a_reason() -> None:
    with pytest.raises(waiting.StepFailed, match='it is detached, and no step says why'):
        run(waiting.wait_attached, Service('detached'))
