# SPDX-License-Identifier: Apache-2.0
"""Who called the API, from where: what timelines, notifications and the audit log say of an act."""

import dataclasses
import re

_MOST = 255
# Nothing that a line of a log, or a terminal, would take for something else.
_ODD = re.compile(r'[^\w.:@%+\-]', re.ASCII)


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who called.

    :param project: id of the project of the token, None for a token without one.
    :param service: id of the user of the service token that came along, None without one.
    :param address: where the request came from.
    """

    user: str | None = None
    project: str | None = None
    service: str | None = None
    address: str | None = None

    def tell(self) -> dict[str, str]:
        """Return what is known, by short names; the texts are safe in a line of a log.

        :returns: ``user``, ``project``, ``service`` and ``from``, as far as they are known.
        """
        found = {'user': self.user, 'project': self.project, 'service': self.service, 'from': self.address}
        return {key: clean(text) for key, text in found.items() if text}


def clean(text: str) -> str:
    """Return a text without what would break a line, at most 255 characters of it.

    :param text: from outside.
    :returns: letters, digits and ``.:@%+-_`` of it; everything else is ``?``.
    """
    return _ODD.sub('?', text[:_MOST])
