# SPDX-License-Identifier: Apache-2.0
"""Runs the tables of this folder, each against a deployment and a compute host of its own."""

import pathlib

import pytest

from multiattach.api.faults import WsgiApp
from tests.functional import tables

TABLES = tables.find(__file__)


@pytest.mark.parametrize('path', TABLES, ids=lambda path: path.stem)
def test_table(path: pathlib.Path, application: WsgiApp) -> None:
    tables.run(path, application)
