# SPDX-License-Identifier: Apache-2.0
"""Runs inside a compute host: brick-demo.py TARGET PORTAL logs in, reads, and logs out."""

import os
import sys
import time
import warnings

warnings.simplefilter('ignore')

import os_brick  # noqa: E402
from os_brick import privileged  # noqa: E402
from os_brick.initiator import connector  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_log import log as logging  # noqa: E402

started = time.monotonic()
conf = cfg.CONF
logging.register_options(conf)
conf([], project='testbed')
os.makedirs('/run/os-brick', exist_ok=True)
conf.set_override('lock_path', '/run/os-brick', group='oslo_concurrency')
os_brick.setup(conf)
for context in (privileged.default, privileged.brick_privsep_hide_output):
    context.set_client_mode(False)  # root already: no privsep daemon
properties = {
    'target_discovered': False,
    'target_iqn': sys.argv[1],
    'target_portal': sys.argv[2],
    'target_lun': 1,
    'volume_id': 'demo',
    'access_mode': 'rw',
}
initiator = connector.InitiatorConnector.factory('ISCSI', None, use_multipath=False)
path = initiator.connect_volume(properties)['path']
connected = time.monotonic()
with open(path, 'rb') as device:
    device.read(4096)
initiator.disconnect_volume(properties, None)
print(f'{path} connected in {connected - started:.1f} s')
