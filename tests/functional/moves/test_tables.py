# SPDX-License-Identifier: Apache-2.0
"""Requests and replies where there are two backends."""

import pathlib

import pytest

from multiattach.drivers.backends.file import FileBackend
from tests.deployments import embedded
from tests.functional import tables
from tests.functional.api.conftest import make_application


@pytest.mark.parametrize('path', tables.find(__file__), ids=lambda path: path.stem)
def test_table(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with embedded.deploy(tmp_path, others={'other': FileBackend(tmp_path / 'other')}) as deployed:
        deployed.wait(lambda: len(deployed.engine.services.list_backends()) == 2)
        tables.run(path, make_application(deployed))
