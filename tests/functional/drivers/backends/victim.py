# SPDX-License-Identifier: Apache-2.0
"""A worker that makes a volume of an image and dies at a failpoint (see :mod:`multiattach.failpoints`)."""

import faulthandler
import json
import pathlib
import sys
import time

from multiattach.engine.volumes import VolumeWish
from tests.deployments import embedded
from tests.functional.drivers.stores import make_backend


def main() -> None:
    faulthandler.enable()  # what happens in C is hard to tell otherwise
    told = json.load(sys.stdin)
    folder = pathlib.Path(told['folder'])
    backend = make_backend(told['options'], folder)
    settings = {('glance', 'api_servers'): [told['glance']]}
    with embedded.deploy(folder, url=told['url'], backend=backend, settings=settings) as deployed:
        deployed.wait(lambda: [one for one in deployed.engine.services.list_backends() if one.is_answering])
        deployed.engine.volumes.create(deployed.ctx, VolumeWish(1, image_ref=told['image']))
        time.sleep(60)


if __name__ == '__main__':
    main()
