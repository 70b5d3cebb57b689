# SPDX-License-Identifier: Apache-2.0
"""What volume types look like (contract 10.3)."""

from collections.abc import Mapping
from typing import Any

from multiattach.engine import rows


def show(
    found: rows.VolumeType, specs: Mapping[str, str | None] | None, *, access: bool = True, qos: bool = False
) -> dict[str, Any]:
    """Show a volume type.

    :param specs: the extra specs that the caller may see, None if none at all.
    :param access: show ``os-volume-type-access:is_public``.
    :param qos: show ``qos_specs_id``.
    """
    view: dict[str, Any] = {
        'id': found.id,
        'name': found.name,
        'description': found.description,
        'is_public': found.is_public,
    }
    if access:
        view['os-volume-type-access:is_public'] = found.is_public
    if specs is not None:
        view['extra_specs'] = dict(specs)
    if qos:
        view['qos_specs_id'] = found.qos_specs_id
    return view
