# SPDX-License-Identifier: Apache-2.0
import pathlib
from collections.abc import Iterator

import pytest
from futurist import _thread

from tests import deployment

# An idle thread of the RPC server looks for its end once a second: each test would wait for that.
_thread.ThreadWorker.MAX_IDLE_FOR = 0.02


@pytest.fixture
def deployed(tmp_path: pathlib.Path) -> Iterator[deployment.Deployment]:
    """A control plane with a null target."""
    with deployment.deploy(tmp_path) as parts:
        yield parts
