# SPDX-License-Identifier: Apache-2.0
"""librados calls back from threads of its own, at a time of its choosing."""

import subprocess
import sys

SETTLES = """
import gc, sys, threading
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.blocklist import Blocklist
from multiattach.drivers.ceph.pool import Cluster, Pool

def collect():
    while True:
        gc.collect()

conf, user = sys.argv[1:]
blocklist = Blocklist(Pool(library.load(), Cluster(conf, user, 'ceph', user), 30))
threading.Thread(target=collect, daemon=True).start()
for _ in range(60):
    blocklist.settle()
"""


def test_what_is_called_back_is_not_collected_before(store):
    done = subprocess.run(
        [sys.executable, '-X', 'faulthandler', '-c', SETTLES, store.conf, store.name],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
