# SPDX-License-Identifier: Apache-2.0
"""What the pages that are made of the code's own tables share: a directive, and a table."""

from collections.abc import Callable, Iterable
from typing import Any

import citations
from docutils import statemachine
from docutils.parsers import rst
from sphinx.util.nodes import nested_parse_with_titles


def write_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]], widths: str = '') -> str:
    """Write a list-table; a cell is one line of reStructuredText."""
    lines = ['.. list-table::', '   :header-rows: 1', *([f'   :widths: {widths}'] if widths else []), '']
    for row in [header, *rows]:
        lines += [f'   {"*" if not index else " "} - {cell}' for index, cell in enumerate(row)]
    return '\n'.join(lines) + '\n'


def make_directive(render: Callable[[], str]) -> type[rst.Directive]:
    """Make a directive that stands for the reStructuredText which *render* returns."""

    class Generated(rst.Directive):
        def run(self) -> list[Any]:
            lines = statemachine.StringList(citations.link(render()).splitlines(), source=f'<{render.__module__}>')
            node = rst.nodes.section()
            node.document = self.state.document
            nested_parse_with_titles(self.state, lines, node)
            return list(node.children)

    return Generated


def declare(app: Any, **directives: Callable[[], str]) -> dict[str, bool]:
    """Add directives to Sphinx; an underscore in a name becomes a hyphen."""
    for name, render in directives.items():
        app.add_directive(name.replace('_', '-'), make_directive(render))
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
