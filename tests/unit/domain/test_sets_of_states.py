# SPDX-License-Identifier: Apache-2.0
"""States are known in two tables side by side: no other module builds a set of them."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

import multiattach
from multiattach.domain import states

PACKAGE = pathlib.Path(multiattach.__file__).parent
TABLES = (PACKAGE / 'domain' / 'states.py', PACKAGE / 'domain' / 'volume_states.py')
MODULES = sorted(path for path in PACKAGE.rglob('*.py') if path not in TABLES)
NAMES = {member.name for enumeration in (states.Attachment, states.Volume) for member in enumeration}
WORDS = {str(member) for enumeration in (states.Attachment, states.Volume) for member in enumeration}
# Words of others that happen to be these: the attach_status of os-reset_status, which is an enumeration of the API.
OTHERS = [{'attached', 'detached'}]


def is_state(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value in WORDS
    if isinstance(node, ast.Starred):
        return is_state(node.value)
    if not isinstance(node, ast.Attribute):
        return False
    text = ast.unparse(node)
    return (node.attr in NAMES and text.split('.')[-2] in {'A', 'V', 'Attachment', 'Volume'}) or (
        text.startswith('states.') and text.removeprefix('states.').isupper()
    )


def find_sets(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find what lists two states or more; positions of arguments and keys of a table are none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.Sub):
            yield from ((node.lineno, ast.unparse(node)) for one in (node.left, node.right) if is_state(one))
        if not isinstance(node, ast.Set | ast.List | ast.Tuple):
            continue
        found = [one for one in node.elts if is_state(one)]
        words = {one.value for one in found if isinstance(one, ast.Constant)}
        if len(found) > 1 and words not in OTHERS:
            yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_module_builds_a_set_of_states(path):
    assert not list(find_sets(ast.parse(path.read_text())))


@pytest.mark.parametrize(
    'code',
    [
        '{A.RESERVED, A.EXPORTING}',
        'x in (states.Volume.CREATING, states.Volume.DELETING)',
        "x.in_(['creating', 'deleting'])",
        'frozenset({*states.ON_HOST, states.Attachment.RESERVED})',
        "{'creating', V.DELETING, 'managing'}",
        'states.ON_HOST | {state}',
        'states.ON_TARGET - states.ADMITTED',
    ],
)
def test_it_would_be_found(code):
    assert list(find_sets(ast.parse(code)))


@pytest.mark.parametrize('code', ['(A.RESERVED,)', "{'attached', 'detached'}", '{A.RESERVED: 1, A.EXPORTING: 2}'])
def test_what_is_no_set_of_states(code):
    assert not list(find_sets(ast.parse(code)))
