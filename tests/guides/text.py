# SPDX-License-Identifier: Apache-2.0
"""What the guides tell to type and to write, in the order of the page."""

import pathlib
import re
from dataclasses import dataclass

TOP = pathlib.Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """One literal block: commands, or a part of a file."""

    section: str
    kind: str  # "shell", or the language that the page names
    text: str
    #: the line of prose that leads to it
    lead: str
    #: the whole paragraph of that line
    prose: str


def read_blocks(page: pathlib.Path) -> list[Block]:
    """Read a page of reStructuredText.

    :param page: the file
    :returns: its literal blocks
    """
    lines = page.read_text().splitlines()
    section, blocks, lead, prose = '', [], '', ''
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ''
        if line and re.fullmatch(r'([-=])\1{2,}', following):
            section = line
        if line and not line.startswith((' ', '..')):
            before = lines[number - 1] if number else ''
            prose = f'{prose} {line}' if before else line
        found = re.fullmatch(r'(\s*)\.\. code-block:: (\w+)', line)
        if found or (line.endswith('::') and not line.lstrip().startswith('..')):
            text = _read_literal(lines[number + 1 :])
            kind, near = found[2] if found else 'shell', lead if line.strip() == '::' else line
            blocks.append(Block(section, kind, text, near, prose))
        if line.strip() and not found:
            lead = line.strip()
    return blocks


def _read_literal(lines: list[str]) -> str:
    first = next(line for line in lines if line)
    margin = first[: len(first) - len(first.lstrip())]
    block: list[str] = []
    for line in lines:
        if line and not line.startswith(margin):
            break
        block.append(line.removeprefix(margin))
    return '\n'.join(block).strip() + '\n'
