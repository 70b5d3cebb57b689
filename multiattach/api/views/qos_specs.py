# SPDX-License-Identifier: Apache-2.0
"""What QoS specs look like."""

from typing import Any

from multiattach.api.views.elements import Links
from multiattach.engine import rows


def show_brief(found: rows.QosSpecs) -> dict[str, Any]:
    """Show QoS specs in a list."""
    return {'id': found.id, 'name': found.name, 'consumer': found.consumer, 'specs': found.specs}


def show(found: rows.QosSpecs, links: Links) -> dict[str, Any]:
    """Show QoS specs; the links are beside them.

    :param links: link maker of the request.
    :returns: the whole body.
    """
    return {'qos_specs': show_brief(found), 'links': links.of('qos-specs', found.id)}


def show_type(found: rows.VolumeType) -> dict[str, Any]:
    """Show a type that has QoS specs."""
    return {'association_type': 'volume_type', 'name': found.name, 'id': found.id}
