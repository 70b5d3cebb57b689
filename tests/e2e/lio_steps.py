# SPDX-License-Identifier: Apache-2.0
"""Runs inside a storage machine: lio_steps.py STEP PORTAL has the driver do something with the volumes of a file."""

import json
import sys
from pathlib import Path
from typing import Any

from multiattach.drivers.targets.base import Grant
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.target import LioTarget

FOLDER = Path('/srv/data/volumes')


def main(step: str, portal: str) -> None:
    volumes = json.loads(Path('/run/volumes.json').read_text())
    target = LioTarget(Configfs(), portal=portal, reservations_dir=FOLDER / 'reservations')
    target.check()
    FOLDER.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    for one in volumes:
        device = FOLDER / f'volume-{one["id"]}'
        if step == 'make':
            with device.open('wb') as file:
                file.truncate(8 << 20)
        elif step == 'grant':
            for words in one['grants']:
                target.grant(one['id'], str(device), Grant(*words))
            told = target.read_reservations(one['id'])
            registered = [(each.initiator, each.key) for each in told.registrations]
            found[one['id']] = {'kind': told.kind, 'registrations': registered}
        else:
            target.remove_export(one['id'])
    print(json.dumps(found))


if __name__ == '__main__':
    main(*sys.argv[1:])
