# SPDX-License-Identifier: Apache-2.0
"""What is odd about an attachment when it is connected again, or completed."""

from oslo_log import log

from multiattach.db import reconciliation, services as db_services
from multiattach.db.commits import Work
from multiattach.db.transitions import Row
from multiattach.domain.services import VOLUME_BINARY
from multiattach.rpc.clients import ExportOrder

LOG = log.getLogger(__name__)


def find_move(work: Work, row: Row) -> ExportOrder | None:
    """Have the worker look at an attachment whose host was told another portal than the worker reports."""
    host = row.volume.host
    portal = db_services.find_portal(work, VOLUME_BINARY, host) if host else None
    if host is None or portal is None or row.connection_info.get('target_portal') == portal:
        return None
    return ExportOrder(host, row.volume_id, row.id)


def warn_unconnected(work: Work, row: Row) -> None:
    """Say so when a server on a host is told to have a volume for which no host was ever admitted."""
    if row.initiator is not None or row.instance_uuid is None:
        return
    server = reconciliation.find_servers(work, [row.instance_uuid]).get(row.instance_uuid)
    if server is not None and server[1] is None:
        LOG.warning(
            'Attachment %s of volume %s is completed without a connector, and its server %s is on '
            'host %s: no host was admitted',
            row.id,
            row.volume_id,
            row.instance_uuid,
            server[0],
        )
    else:
        LOG.info(
            'Attachment %s of volume %s is completed without a connector, as for a shelved server',
            row.id,
            row.volume_id,
        )
