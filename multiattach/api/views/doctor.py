# SPDX-License-Identifier: Apache-2.0
"""What drift looks like."""

from typing import Any

from multiattach.domain.findings import Finding
from multiattach.engine.doctor import Diagnosis, Unanswered


def finding(found: Finding) -> dict[str, Any]:
    """Show a finding."""
    return {**found.write(), 'left': found.is_left}


def unanswered(found: Unanswered) -> dict[str, Any]:
    """Show who did not answer.

    :param found: a worker or an agent.
    """
    return {'binary': found.binary, 'host': found.host, 'reason': found.reason}


def diagnosis(found: Diagnosis) -> dict[str, Any]:
    """Show what was found everywhere."""
    return {
        'fix': found.fix,
        'answered': found.answered,
        'left': found.left,
        'findings': [finding(one) for one in found.findings],
        'unanswered': [unanswered(one) for one in found.unanswered],
    }
