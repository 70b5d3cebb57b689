# SPDX-License-Identifier: Apache-2.0
"""The body that attaches a volume to a server with a mode."""

from multiattach.api.schemas.elements import UUID, fields, wrap
from multiattach.api.validation import Versioned

# As the compute API takes it; a name that is no free /dev/vdX is a wish that is not met.
_DEVICE = {'type': ['string', 'null'], 'maxLength': 255, 'pattern': r'^/dev/x?[a-z]?d?[a-z]+[0-9]*\Z'}
CREATE = Versioned(
    {0: wrap('attachment', fields({'volume_id': UUID, 'mode': {'enum': ['rw', 'ro']}, 'device': _DEVICE}, 'volume_id'))}
)
