# SPDX-License-Identifier: Apache-2.0
"""Write doc/source/openapi.json, the description of the newest microversion; a test compares it."""

import json
import pathlib

from multiattach.api import blockstorage, microversion, openapi

TARGET = pathlib.Path(__file__).resolve().parents[1] / 'doc' / 'source' / 'openapi.json'


def render() -> str:
    """Return the document.

    :returns: JSON.
    """
    document = openapi.describe(blockstorage.CONTROLLERS, microversion.BLOCK_STORAGE.maximum)
    return json.dumps(document, indent=1) + '\n'


if __name__ == '__main__':
    TARGET.write_text(render())
