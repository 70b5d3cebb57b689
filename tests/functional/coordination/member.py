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
    for _ in range(100):  # one that was killed keeps its locks for a while
        with locks.try_storage(volume_id) as held:
            if held:
                with locks.hold(volume_id, 'test'):
                    print('ready', flush=True)
                    time.sleep(60)
                return
        time.sleep(0.1)


if __name__ == '__main__':
    main()
