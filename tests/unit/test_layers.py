# SPDX-License-Identifier: Apache-2.0
"""Dependencies point one way; modules stay small; names say what they are.

Each rule is one test over all modules: what breaks it is listed with the module's path.
"""

import ast
import functools
import pathlib

import multiattach

PACKAGE = pathlib.Path(multiattach.__file__).parent
MODULES = sorted(PACKAGE.rglob('*.py'))

# What each layer may import of this package.
ALLOWED = {
    'domain': {'domain'},
    'db': {'db', 'domain', 'signals', 'request_ids', 'trouble', 'concurrency'},
    # What a rule guards is what the routes declare; nobody but programs asks for the rules.
    'policies': {'policies', 'api'},
    'rpc': {'rpc', 'domain', 'periodic', 'signals', 'request_ids', 'probe', 'turns'},
    # What has a caller and a policy. ``steps`` has neither: workers and agents are trusted.
    'engine': {'engine', 'backoff', 'steps', 'db', 'domain', 'rpc', 'failpoints'},
    'steps': {'steps', 'backoff', 'db', 'domain', 'rpc', 'failpoints', 'signals'},
    'drivers': {'drivers', 'backoff', 'domain', 'conf', 'concurrency', 'listening', 'signals', 'trouble', 'turns'},
    # What stands in another service's database, and what comes of it here.
    'takeover': {'takeover', 'db', 'domain'},
    # It shows rows and asks for pages, which it names by their types; it never reads a row itself.
    'api': {'api', 'engine', 'domain', 'db.models', 'db.paging', 'signals', 'request_ids', 'probe', 'trouble', 'turns'},
    'volume': {
        'volume',
        'worker',
        'steps',
        'db',
        'domain',
        'drivers',
        'rpc',
        'periodic',
        'coordination',
        'failpoints',
        'signals',
        'trouble',
        'turns',
    },
    'worker.py': {'steps', 'db', 'rpc', 'periodic', 'coordination'},
    'host': {
        'host',
        'worker',
        'steps',
        'db',
        'domain',
        'drivers',
        'rpc',
        'periodic',
        'coordination',
        'failpoints',
        'trouble',
    },
    'conf': {'conf', 'domain'},
    # Of the service they may know its words, and nothing else: they run on other people's machines.
    'client': {'client', 'domain', 'backoff'},
    'osc': {'osc', 'client', 'domain'},
    'backoff.py': set(),
    'concurrency.py': set(),
    'coordination.py': set(),
    # It costs nothing, and says what no log would.
    'failpoints.py': {'domain'},
    'listening.py': set(),
    'periodic.py': {'domain', 'trouble'},
    'probe.py': set(),
    'request_ids.py': set(),
    # Any layer may report to it.
    'signals.py': set(),
    'trouble.py': set(),
    'turns.py': set(),
    'metrics': {'metrics', 'db', 'domain', 'drivers', 'signals', 'probe'},
    'notifications': {'notifications', 'db', 'domain', 'request_ids'},
    '__init__.py': set(),
}
COMPOSING = {'cmd', 'wsgi'}
# A driver knows its own kind only: hosts run without a target, and the other way round.
DRIVERS = {'targets', 'backends', 'connectors', 'conversion', 'glance', 'hypervisors', 'nova'}
# What is asked of Ceph is asked in one place, by backends and targets.
SHARED = {'ceph', 'errors', 'values'}
# Libraries that a layer must do without.
FORBIDDEN_LIBRARIES = {
    'domain': ('oslo', 'sqlalchemy', 'pecan', 'webob', 'libvirt', 'os_brick', 'tooz'),
    'api': ('sqlalchemy', 'oslo_db', 'oslo_messaging'),
    'engine': ('pecan', 'webob', 'libvirt', 'os_brick'),
    'steps': ('pecan', 'webob', 'libvirt', 'os_brick', 'oslo_config', 'oslo_policy', 'oslo_context'),
    'volume': ('pecan', 'webob', 'libvirt', 'os_brick', 'oslo_config'),
    'host': ('pecan', 'webob', 'libvirt', 'oslo_config'),
    'db': ('pecan', 'webob', 'oslo_config', 'oslo_messaging'),
    'client': ('oslo', 'sqlalchemy', 'pecan', 'webob', 'requests', 'urllib3', 'http', 'osc_lib', 'cliff'),
    'osc': ('oslo', 'sqlalchemy', 'pecan', 'webob', 'requests', 'urllib3', 'http'),
}


@functools.cache
def parse(path):
    """Return the tree of a module, and all its nodes."""
    tree = ast.parse(path.read_text())
    return tree, list(ast.walk(tree))


def imports(path):
    """Yield full names of everything a module imports, inside functions too."""
    for node in parse(path)[1]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def layer_of(path):
    return path.relative_to(PACKAGE).parts[0]


def check(rule, paths=tuple(MODULES), top=PACKAGE):
    """Fail with all that a rule says of the modules: it yields a text for each breach."""
    found = [f'{path.relative_to(top)}: {breach}' for path in paths for breach in rule(path)]
    assert not found, '\n'.join(found)


def is_allowed(layer, name):
    if name.startswith('multiattach.'):
        target, *rest = name.split('.')[1:]
        module = f'{target}.{rest[0]}' if rest else target
        return bool({target, module} & ALLOWED[layer])
    return not name.startswith(FORBIDDEN_LIBRARIES.get(layer, ()))


def test_imports_point_one_way():
    def rule(path):
        layer = layer_of(path)
        if layer not in COMPOSING:
            yield from (f'{layer} must not import {name}' for name in imports(path) if not is_allowed(layer, name))

    check(rule)


def test_drivers_do_not_import_those_of_another_kind():
    def rule(path):
        kind = path.relative_to(PACKAGE / 'drivers').parts[0]
        for name in imports(path):
            if name.startswith('multiattach.drivers.') and name.split('.')[2] not in {kind, *SHARED}:
                yield f'{kind} must not import {name}'

    check(rule, sorted((PACKAGE / 'drivers').rglob('*.py')))


def test_every_kind_of_driver_is_known():
    assert {p.name for p in (PACKAGE / 'drivers').iterdir() if any(p.glob('*.py'))} == DRIVERS | {'ceph'}


# Words of statements; conditions, columns and types of sessions may be named anywhere.
WATCHING = {'metrics', 'notifications'}
STATEMENTS = {'select', 'insert', 'update', 'delete', 'text', 'exists', 'func', 'join'}


def is_statement(node, layer):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        # Drivers, host and worker have sessions of iSCSI.
        if node.value.id == 'session' and layer in {'engine', 'steps', *COMPOSING, *WATCHING}:
            return True
        return node.value.id in {'sa', 'sqlalchemy'} and node.attr in STATEMENTS
    if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('sqlalchemy'):
        return bool(STATEMENTS & {alias.name for alias in node.names})
    return False


def test_statements_stand_in_db_only():
    """Elsewhere a session of the database is handed on, and nothing is asked of it."""

    def rule(path):
        layer = layer_of(path)
        # Another service's tables are read there, and in no other place.
        if layer != 'db' and path != PACKAGE / 'takeover/source.py':
            yield from (ast.unparse(node) for node in parse(path)[1] if is_statement(node, layer))

    check(rule)


def test_the_test_sees_every_layer():
    assert {layer_of(p) for p in MODULES} <= set(ALLOWED) | COMPOSING


def test_modules_stay_small():
    def rule(path):
        lines = len(path.read_text().splitlines())
        if lines > 600:
            yield f'{lines} lines'

    check(rule)


def test_names_are_nouns():
    def rule(path):
        if path.stem in {'utils', 'util', 'helpers', 'common', 'misc', 'manager'}:
            yield path.stem
        for node in parse(path)[1]:
            if isinstance(node, ast.ClassDef) and node.name.endswith(('Manager', 'Helper', 'Util', 'Common')):
                yield node.name

    check(rule)


def _public(tree):
    """Yield public functions and methods that take arguments or return something."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            yield from (
                (f'{node.name}.{n.name}', n)
                for n in node.body
                if isinstance(n, ast.FunctionDef) and not n.name.startswith('_')
            )
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
            yield node.name, node


def test_docstrings_list_nothing_that_is_not_there():
    """Each parameter that a docstring lists exists; what is worth a line at all is for the author to say."""

    def rule(path):
        for name, node in _public(parse(path)[0]):
            text = ast.get_docstring(node) or ''
            known = {a.arg for a in [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]}
            known |= {a.arg for a in (node.args.vararg, node.args.kwarg) if a}
            for line in text.splitlines():
                if line.strip().startswith(':param '):
                    param = line.strip().removeprefix(':param ').split(':')[0].strip()
                    if param not in known:
                        yield f'{name} documents {param}, which it does not take'

    check(rule)


def test_unit_tests_have_no_database():
    """What needs one, with the workers around it, is in tests/component."""
    names = {
        'tests.deployments.embedded',
        'tests.deployments.surroundings',
        'multiattach.db.database',
        'multiattach.db.migration',
    }

    def rule(path):
        nodes = parse(path)[1]
        found = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        imported = {f'{node.module}.{alias.name}' for node in found for alias in node.names}
        yield from sorted((imported | {node.module for node in found}) & names)
        if any(arg.arg == 'deployed' for node in nodes if isinstance(node, ast.FunctionDef) for arg in node.args.args):
            yield 'takes fixture "deployed"'

    here = pathlib.Path(__file__).parent
    check(rule, sorted(here.rglob('*.py')), here)
