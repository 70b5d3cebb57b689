# SPDX-License-Identifier: Apache-2.0
"""Citations of the contract, of requirements and of clients: found anywhere, and links in the documentation.

``contract 2.3``, ``contract 3.4, 11.4 numbers 9 and 10``, ``contract 7.3 steps 3 and 4``, ``contract 8.3, rule a``,
``requirement rows 17 and 18``, ``clients chapter 1``.
"""

import re
from collections.abc import Iterator
from typing import Any

_LIST = r'\d+(?:(?:, | and )\d+(?!\.?\d))*'
_ITEM = rf'\d+(?:\.\d+)?(?: (?:numbers?|steps?) {_LIST}|, rule [a-z])?'
CITATION = re.compile(
    rf'\b(?:contract (?P<items>{_ITEM}(?:(?:, | and ){_ITEM})*)'
    rf'|requirement rows? (?P<rows>{_LIST})|clients chapter (?P<chapter>\d+))',
    re.IGNORECASE,
)
_PART = re.compile(rf'(?P<section>\d+(?:\.\d+)?)(?: (?P<kind>number|step)s? (?P<list>{_LIST})|, rule (?P<rule>[a-z]))?')


def list_anchors(match: re.Match[str]) -> Iterator[str]:
    """Yield the label of each place that a match of CITATION names."""
    if match['rows']:
        yield from (f'requirement-{number}' for number in re.findall(r'\d+', match['rows']))
    elif match['chapter']:
        yield f'clients-{match["chapter"]}'
    else:
        for part in _PART.finditer(match['items']):
            section = f'contract-{part["section"]}'
            if part['list']:
                yield from (f'{section}-{part["kind"]}-{number}' for number in re.findall(r'\d+', part['list']))
            else:
                yield f'{section}-rule-{part["rule"]}' if part['rule'] else section


def find_anchors(text: str) -> list[str]:
    """Return the labels of all that a text cites, whatever its line breaks and comment signs."""
    joined = re.sub(r'\s*\n[\s#*.]*', ' ', text)
    return [anchor for match in CITATION.finditer(joined) for anchor in list_anchors(match)]


def link(text: str) -> str:
    """Make a link of each citation in reStructuredText: to the first place that it names."""

    def replace(match: re.Match[str]) -> str:
        return f':ref:`{" ".join(match[0].split())} <{next(list_anchors(match))}>`'

    return re.sub(r'(?<![`"<])' + CITATION.pattern, replace, text, flags=re.IGNORECASE)


def _link_page(_: Any, name: str, source: list[str]) -> None:
    if name != 'reference/contract':
        source[0] = link(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Have the citations of every page become links."""
    app.connect('source-read', _link_page)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
