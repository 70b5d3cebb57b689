# SPDX-License-Identifier: Apache-2.0
"""The release notes of this tree, made of ``releasenotes/notes``.

reno's own directive reads the history of git, to sort notes by tags. There is no tag yet, a tree from an archive has no
history, and reno 4.1 refuses this one, where a merge changed a note that it brought ("Unrecognized changes").
"""

import pathlib
from typing import Any

import generated
import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'releasenotes'


def render() -> str:
    """Return a section for each kind of note, in the order of ``config.yaml``, as reStructuredText."""
    config = yaml.safe_load((FOLDER / 'config.yaml').read_text())
    notes = [yaml.safe_load(path.read_text()) for path in sorted((FOLDER / 'notes').glob('*.yaml'))]
    title = config['unreleased_version_title']
    lines = [title, '=' * len(title), '']
    for note in notes:
        lines += [note['prelude'].rstrip(), ''] if 'prelude' in note else []
    for name, heading in config['sections']:
        texts = [text for note in notes for text in note.get(name, ())]
        lines += [heading, '-' * len(heading), ''] if texts else []
        for text in texts:
            lines += [f'* {text.rstrip()}'.replace('\n', '\n  '), '']
    return '\n'.join(lines)


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx know the directive."""
    return generated.declare(app, release_notes=render)
