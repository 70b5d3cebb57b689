# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Iterator

import pytest

from tests import deployment


@pytest.fixture
def deployed(tmp_path: pathlib.Path) -> Iterator[deployment.Deployment]:
    """A control plane with a null target."""
    with deployment.deploy(tmp_path) as parts:
        yield parts
