# SPDX-License-Identifier: Apache-2.0
"""``multiattach-manage service remove``: what a worker or an agent that is gone leaves behind."""

from sqlalchemy.orm import Session

from multiattach.db import (
    attachments as db_attachments,
    backends as db_backends,
    gateways as db_gateways,
    services as db_services,
)
from multiattach.domain import errors, gateways, states
from multiattach.domain.services import HOST_BINARY, VOLUME_BINARY


def check_unused(session: Session, binary: str, host: str) -> None:
    """See that nothing stays for which only this service could do something.

    :raises Conflict: it says how much there is, and what to do.
    """
    if binary == VOLUME_BINARY:
        _check_backend(session, host)
        if db_gateways.get_state(session, host) not in (None, gateways.State.LOST):
            raise errors.Conflict(
                f'{host} is a gateway, and it is not known to be shut out of Ceph: end it, and wait until the others '
                'of its cluster have done that ("lost" in table gateways). --force forgets it all the same.'
            )
    elif binary == HOST_BINARY:
        left = len(db_attachments.list_of_agent(session, host, states.Attachment))
        if left:
            raise errors.Conflict(
                f'{left} attachments of servers on {host} are recorded, and only its agent can detach them: start '
                'it again and detach them, or, if the host is gone, cut it off ("openstack multiattach host fence '
                f'{host}") and delete them. --force forgets the agent all the same.'
            )


def _check_backend(session: Session, host: str) -> None:
    service = db_services.get(session, VOLUME_BINARY, host)
    backend = (service.report or {}).get('cluster') or host
    if len(db_services.list_of_backend(session, VOLUME_BINARY, backend)) > 1:  # others of its cluster stay
        return
    volumes, _deleted, attachments = db_backends.count(session, backend)
    if volumes:
        raise errors.Conflict(
            f'{volumes} volumes with {attachments} attachments are on {backend}, and no other worker serves it: '
            'nobody could attach or delete them. Start it again and delete them; or, if another worker has their '
            f'storage, move them ("multiattach-manage volume update-host --current-host {backend} --new-host '
            'HOST@BACKEND"); or, if the storage is gone, remove each ("multiattach-manage volume remove"). '
            '--force forgets the worker all the same.'
        )
