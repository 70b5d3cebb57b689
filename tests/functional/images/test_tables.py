# SPDX-License-Identifier: Apache-2.0
"""Runs the tables of this folder, with a real Glance behind the API."""

import pathlib

import pytest

from tests.functional import tables
from tests.functional.api.conftest import make_application
from tests.functional.images.cloud import Cloud

TABLES = tables.find(__file__)


@pytest.mark.parametrize('path', TABLES, ids=lambda path: path.stem)
def test_table(path: pathlib.Path, cloud: Cloud) -> None:
    tables.run(path, make_application(cloud.deployed))
