# SPDX-License-Identifier: Apache-2.0
"""One process of a race: eight threads reserve every volume that is named; prints the outcome."""

import concurrent.futures
import json
import pathlib
import sys
import uuid

from multiattach.domain import errors
from multiattach.engine.attachments import Reservation
from tests.deployments import embedded


def main() -> None:
    directory, volumes = pathlib.Path(sys.argv[1]), sys.argv[2:]
    url = sys.stdin.readline().strip()  # arguments are readable by everybody
    outcome: dict[str, list[object]] = {'won': [], 'codes': []}
    with embedded.deploy(directory, url=url, start_worker=False) as deployed:

        def reserve(volume_id: str) -> None:
            try:
                deployed.engine.attachments.reserve(deployed.ctx, volume_id, str(uuid.uuid4()), Reservation())
                outcome['won'].append(volume_id)
            except errors.MultiattachError as exc:
                outcome['codes'].append(exc.code)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(reserve, volumes * 8))
    sys.stdout.write(json.dumps(outcome))


if __name__ == '__main__':
    main()
