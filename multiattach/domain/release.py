# SPDX-License-Identifier: Apache-2.0
"""Which release this is."""

import functools
from importlib import metadata

PACKAGE = 'multiattach'


@functools.cache
def version() -> str:
    """Return the version of the installed package, ``unknown`` in a tree that was never installed."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return 'unknown'
