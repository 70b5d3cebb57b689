# SPDX-License-Identifier: Apache-2.0
"""Options of asking Nova whether a server uses a volume."""

from oslo_config import cfg

GROUP = 'nova'
OPTS = [
    cfg.StrOpt('endpoint', default='',
               help='URL of the Compute API; empty to take it from the catalogue of the caller. '
                    'With auth_strategy noauth nobody is asked unless it is set.'),
    cfg.StrOpt('interface', default='public', choices=['public', 'internal', 'admin'],
               help='Interface in the catalogue.'),
    cfg.StrOpt('region_name', default='', help='Region in the catalogue; empty for any.'),
    cfg.StrOpt('cafile', default='', help='File of certification authorities.'),
    cfg.BoolOpt('insecure', default=False, help='Do not verify certificates.'),
]
