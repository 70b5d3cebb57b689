# SPDX-License-Identifier: Apache-2.0
"""What operations on images cost: what costs.rst says, with requests to a real Glance."""

import pathlib

import pytest

from multiattach.domain.leases import LeaseRules
from tests import contexts
from tests.functional.costs.bench import Bench, V, has_status, is_made
from tests.functional.images.cloud import MIB, deploy_with
from tests.testbed.glance import Glance

TABLE = 4  # of the page


def test_images(glance: Glance, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = contexts.make_context(project='0' * 32)
    options = {'report_interval': 3600, 'lease_rules': LeaseRules()}
    with deploy_with(tmp_path / 'cloud', glance.url, glance, **options) as cloud:
        image, empty = cloud.make_image(bytes(MIB)), cloud.deployed.make_volume(ctx=ctx)
        bench = Bench(cloud.deployed, monkeypatch)
        wish = {'volume': {'size': 1, 'imageRef': image}}
        volume = bench.ask('volume of an image', 'POST', '/volumes', wish, is_made(V, 'volume'))['volume']['id']
        act = f'/volumes/{volume}/action'
        available = has_status(V, volume)
        bench.ask('reimage', 'POST', act, {'os-reimage': {'image_id': image}}, lambda _: available)
        wish = {'os-volume_upload_image': {'image_name': 'x', 'disk_format': 'qcow2'}}
        bench.ask('upload to image', 'POST', f'/volumes/{empty}/action', wish, lambda _: has_status(V, empty))
        bench.ask('show image metadata', 'POST', act, {'os-show_image_metadata': None})
        bench.close()
    bench.check(TABLE)
