# SPDX-License-Identifier: Apache-2.0
"""Waiting for an attachment, told by its explanation."""

from collections.abc import Callable

from openstack import exceptions

from multiattach import backoff
from multiattach.client.proxy import Proxy
from multiattach.client.resources import AttachmentExplanation
from multiattach.domain.states import OVER, Attachment

_FIRST, _MOST = 0.1, 2.0
Report = Callable[[AttachmentExplanation], None]


class StepFailed(Exception):
    """An attach or a detach ended otherwise than it should, or not in time."""


def wait_attached(proxy: Proxy, attachment_id: str, timeout: float, report: Report) -> AttachmentExplanation:
    """Wait until the server has the volume.

    :raises StepFailed: the attach failed, or did not end in time.
    """
    return _wait(
        proxy,
        attachment_id,
        timeout,
        report,
        'attach',
        lambda found: bool(found.state == Attachment.ATTACHED),
        lambda found: found.state in OVER,
    )


def wait_detached(proxy: Proxy, attachment_id: str, timeout: float, report: Report) -> AttachmentExplanation:
    """Wait until nothing is left of an attachment whose detach was asked for.

    :raises StepFailed: the server kept the device, the detach stopped half-way or did not end in time.
    """

    def refused(found: AttachmentExplanation) -> bool:
        if found.state == Attachment.ATTACHED:
            return bool(found.timeline[-1]['event'] == 'detach_refused')
        return bool(found.state == Attachment.ERROR_DETACHING)

    return _wait(
        proxy, attachment_id, timeout, report, 'detach', lambda found: bool(found.state == Attachment.DETACHED), refused
    )


def _wait(
    proxy: Proxy,
    attachment_id: str,
    timeout: float,
    report: Report,
    what: str,
    is_done: Callable[[AttachmentExplanation], bool],
    is_bad: Callable[[AttachmentExplanation], bool],
) -> AttachmentExplanation:

    def look() -> AttachmentExplanation:
        found = proxy.explain_attachment(attachment_id)
        report(found)
        return found

    found = backoff.poll(look, lambda seen: is_done(seen) or is_bad(seen), timeout, first=_FIRST, most=_MOST)
    if is_done(found):
        return found
    if is_bad(found):
        raise StepFailed(f'The {what} failed: {find_error(found)}\n{found.advice}')
    raise StepFailed(f'The {what} did not end in {timeout:g} s; it goes on. Next: {found.next}\n{found.advice}')


def find_error(found: AttachmentExplanation) -> str:
    """Return why the last failed step failed; a sentence if no reason is recorded."""
    reasons = [step['error'] for step in found.timeline if step['error']]
    error: str = found.error or (reasons[-1] if reasons else '')
    return error or f'it is {found.state}, and no step says why.'


def find_attachment(storage: object, server_id: str, volume_id: str) -> str | None:
    """Return the id of the newest attachment of a volume to a server; None if there is none (any more)."""
    # Newest first is the order of the service's lists.
    listed = storage.attachments(volume_id=volume_id, instance_id=server_id)  # type: ignore[attr-defined]
    try:
        return next((str(row.id) for row in listed), None)
    except exceptions.NotFoundException:
        return None
