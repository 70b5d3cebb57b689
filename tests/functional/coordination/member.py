# SPDX-License-Identifier: Apache-2.0
"""A process that joins a crew and holds a volume's locks until it is killed: URL NAME VOLUME."""

import sys
import time

from multiattach.coordination import Crew, connect
from multiattach.volume.locks import VolumeLocks


def main() -> None:
    url, name, volume_id = sys.argv[1:]
    coordinator = connect(url, name)
    Crew(coordinator, 'test').join()
    locks = VolumeLocks(coordinator)
    with locks.try_copy(volume_id) as held, locks.hold(volume_id):
        assert held
        print('ready', flush=True)
        time.sleep(60)


if __name__ == '__main__':
    main()
