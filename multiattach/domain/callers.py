# SPDX-License-Identifier: Apache-2.0
"""Who called the API, from where: what timelines, notifications and the audit log say of an act."""

import dataclasses
import re

_MOST = 255
# Nothing that a line of a log, or a terminal, would take for something else.
_ODD = re.compile(r'[^\w.:@%+\-]', re.ASCII)


@dataclasses.dataclass(frozen=True)
class Caller:
    user: str | None = None
    project: str | None = None
    service: str | None = None
    address: str | None = None

    def tell(self) -> dict[str, str]:
        """Return what is known of ``user``, ``project``, ``service`` and ``from``, safe in a line of a log."""
        found = {'user': self.user, 'project': self.project, 'service': self.service, 'from': self.address}
        return {key: clean(text) for key, text in found.items() if text}


def clean(text: str) -> str:
    """Return at most 255 characters of a text from outside; all but letters, digits and ``.:@%+-_`` become ``?``."""
    return _ODD.sub('?', text[:_MOST])
