# SPDX-License-Identifier: Apache-2.0
"""Folders of the files that targets keep."""

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Have names that were made and removed in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
