# SPDX-License-Identifier: Apache-2.0
"""``openapi.json``: the API at its newest microversion, made of the schemas that requests are checked with.

It is put beside the built pages; ``python doc/ext/openapi.py FILE`` writes it alone.
"""

import json
import pathlib
import sys
from typing import Any

from multiattach.api import microversion, openapi
from multiattach.api.block import app as block

NAME = 'openapi.json'


def render() -> str:
    """Return the document as JSON."""
    document = openapi.describe(block.CONTROLLERS, microversion.BLOCK_STORAGE.maximum)
    return json.dumps(document, indent=1) + '\n'


def _write(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == 'html':
        pathlib.Path(app.outdir, NAME).write_text(render())


def setup(app: Any) -> dict[str, bool]:
    """Have the document written with the pages."""
    app.connect('build-finished', _write)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}


if __name__ == '__main__':
    [name] = sys.argv[1:]
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_text(render())
