# SPDX-License-Identifier: Apache-2.0
"""What an operator may change about the API."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ApiSettings:
    """Settings of the API; the programs fill them from their configuration.

    :param auth_strategy: how callers are identified; key of
        :data:`multiattach.api.auth.STRATEGIES`.
    :param noauth_hosts: names by which clients may reach the API (noauth only), besides those that are
        always fine.
    :param public_endpoint: URL of the service as clients see it, without ``/v3``; empty for what
        the request says.
    :param max_limit: most rows of one list reply.
    :param project_id_regex: what a project id in a URL looks like (contract 1.5).
    :param max_active_requests: how many requests of one process compute at once; 0 for any number.
    :param max_queue_time: seconds that a request may have waited when it is begun; 0 for any time.
    :param default_project_id: project of callers who name none (noauth only).
    """

    auth_strategy: str = 'noauth'
    noauth_hosts: tuple[str, ...] = ()
    public_endpoint: str = ''
    max_limit: int = 1000
    project_id_regex: str = r'[0-9a-f\-]+'
    max_active_requests: int = 0
    max_queue_time: float = 0.0
    default_project_id: str = '00000000000000000000000000000000'
