# SPDX-License-Identifier: Apache-2.0
"""Keystone, Glance, this service and Tempest, each in a process of its own; nothing is left behind."""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path

from keystoneauth1 import session, token_endpoint
from openstack import connection

from tests.testbed import processes
from tests.testbed.environments import ensure_venv
from tests.testbed.errors import TestbedError
from tests.testbed.glance import Glance
from tests.testbed.identity import REGION
from tests.testbed.keystone import REQUIREMENTS, Keystone
from tests.testbed.polling import wait_until
from tests.testbed.progress import report
from tests.testbed.servers import pick_port

_HERE = Path(__file__).resolve().parent
_HOST = '127.0.0.1'
# Two: a list of hosts has to have two, and a type can choose between them.
_BACKENDS = ('file', 'second')
# Neutron does not run. But whole classes of volume tests are skipped without it, for the sake of a few tests in them;
# those few are in exclude.txt.
_PRETENDED = {'neutron': True}
_IMAGE_SIZE = 1 << 20


def parse(args: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='tools/tempest/run',
        description='Runs Tempest against multiattach-standalone, Keystone and Glance. '
        'The tests are those of include.txt without those of exclude.txt.',
    )
    parser.add_argument('--cache', type=Path, help='cache folder of virtual environments')
    parser.add_argument(
        '--folder',
        type=Path,
        help='where to work; it must not exist, and stays. Default: a temporary folder, which goes',
    )
    parser.add_argument('--concurrency', type=int, default=2, help='tests at a time (default: 2)')
    parser.add_argument('--list', action='store_true', help='list the chosen tests and do nothing else')
    parser.add_argument(
        '--regex',
        action='append',
        default=[],
        metavar='REGEX',
        help='run what matches of the chosen tests only; may be given again',
    )
    parser.add_argument('--report', type=Path, help='file for the results as subunit stream')
    return parser.parse_args(args)


def render_configuration(keystone: Keystone, image: str, folder: Path) -> RawConfigParser:
    """Write what Tempest is told of the cloud: no more than is there.

    :param keystone: running
    :param image: id of one that everybody may use
    :param folder: Tempest's own
    :returns: tempest.conf
    """
    root = keystone.accounts['root']
    conf = RawConfigParser()
    options: Mapping[str, Mapping[str, object]] = {
        'DEFAULT': {'log_dir': folder / 'logs', 'debug': True},
        'oslo_concurrency': {'lock_path': folder / 'tempest_lock'},
        'auth': {
            'use_dynamic_credentials': True,
            'create_isolated_networks': False,
            'tempest_roles': 'member',
            'admin_username': root.name,
            'admin_password': root.password,
            'admin_project_name': root.project,
            'admin_domain_name': 'Default',
        },
        'identity': {'auth_version': 'v3', 'uri_v3': keystone.url, 'region': REGION, 'v3_endpoint_type': 'public'},
        'service_available': {'cinder': True, 'glance': True, 'nova': False, 'swift': False, **_PRETENDED},
        'enforce_scope': {'cinder': True},
        'compute': {'image_ref': image, 'image_ref_alt': image},
        'compute-feature-enabled': {'volume_multiattach': True},
        'image': {'region': REGION, 'disk_formats': 'qcow2,raw', 'container_formats': 'bare'},
        'volume': {
            'catalog_type': 'block-storage',
            'min_microversion': '3.0',
            'max_microversion': '3.71',
            'backend_names': ','.join(_BACKENDS),
            'manage_snapshot_ref': 'source-name,snapshot-%s',
        },
        'volume-feature-enabled': {
            'snapshot': True,
            'clone': True,
            'backup': False,
            'multi_backend': True,
            'manage_volume': True,
            'manage_snapshot': True,
            'replication': False,
            'extend_attached_volume': True,
            'extend_volume_with_snapshot': True,
            'volume_revert': True,
            'enable_volume_image_dep_tests': True,
            'api_extensions': 'os-services',
        },
    }
    conf.read_dict(options)
    return conf


def make_image(keystone: Keystone, glance: Glance) -> str:
    """Make an image of zeros that everybody may use; no server is booted of it.

    :returns: its id
    """
    api = connection.Connection(
        session=session.Session(token_endpoint.Token(glance.url, keystone.issue_token('root'))),
        image_endpoint_override=glance.url,
    )
    made = api.image.create_image(
        name='tempest', disk_format='raw', container_format='bare', visibility='public', data=bytes(_IMAGE_SIZE)
    )
    return str(made.id)


@contextlib.contextmanager
def serve(folder: Path, keystone: Keystone) -> Iterator[str]:
    """Run this service with Keystone.

    :param folder: for its state
    :param keystone: running
    :yields: its URL, with /v3
    """
    places = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    program = shutil.which('multiattach-standalone', path=places)
    if program is None:
        raise TestbedError('multiattach-standalone is not installed beside this Python, nor on the PATH')
    folder.mkdir(mode=0o700)
    conf = folder / 'multiattach.conf'
    conf.touch(0o600)
    conf.write_text(
        '[api]\nauth_strategy = keystone\n'
        f'[tgt]\nportal = {_HOST}:{pick_port()}\n'
        f'[volume]\nenabled_backends = {",".join(_BACKENDS)}\n'
        f'[{_BACKENDS[1]}]\ndirectory = {folder / _BACKENDS[1]}\n'
        '[host_agent]\nenabled = no\n'
        + keystone.render_authtoken()
        + keystone.render_authtoken('admin').replace('[keystone_authtoken]', '[glance]')
    )
    port = pick_port()
    base = f'http://{_HOST}:{port}'
    child = processes.spawn(
        [program, '--state-dir', folder, '--listen', f'{_HOST}:{port}', '--config-file', conf, '--debug'],
        folder / 'output',
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
    )

    def is_up() -> bool:
        if child.poll() is not None:
            raise TestbedError(f'multiattach-standalone ended: {processes.tail(folder / "output")}')
        try:
            with urllib.request.urlopen(f'{base}/healthcheck', timeout=10) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    try:
        wait_until(is_up, 120, 'multiattach-standalone', 0.1)
        yield f'{base}/v3'
    finally:
        processes.stop_group(child)


def read_list(path: Path, *, reasons: bool) -> list[re.Pattern[str]]:
    """Read a list of regular expressions.

    :param path: of the list
    :param reasons: each has to have its reason beside it
    :returns: the expressions
    :raises TestbedError: when one has no reason
    """
    found = []
    for line in path.read_text().splitlines():
        text, _, reason = (word.strip() for word in line.partition('#'))
        if text and reasons and not reason:
            raise TestbedError(f'{path.name}: {text} has no reason beside it')
        if text:
            found.append(re.compile(text))
    return found


def choose(known: list[str], regexes: list[str]) -> list[str]:
    """Choose tests by include.txt, exclude.txt and the command line.

    :param known: names of all tests
    :param regexes: of the command line
    :returns: names of the chosen ones
    :raises TestbedError: when an expression matches nothing: it names what Tempest no longer has
    """
    included = read_list(_HERE / 'include.txt', reasons=False)
    chosen = {test for test in known if any(regex.search(test) for regex in included)}
    excluded: set[str] = set()
    for regex in read_list(_HERE / 'exclude.txt', reasons=True):
        matched = {test for test in chosen if regex.search(test)}
        if not matched:
            raise TestbedError(f'exclude.txt: {regex.pattern} matches no test')
        excluded |= matched
    return sorted(test for test in chosen - excluded if not regexes or any(re.search(regex, test) for regex in regexes))


def run(options: argparse.Namespace, folder: Path) -> int:
    """Bring everything up, run the tests, take everything down.

    :param options: the command line
    :param folder: where to work
    :returns: Tempest's exit code: 0 if no test failed
    """
    program = ensure_venv(options.cache, 'tempest', REQUIREMENTS.with_name('tempest.txt')) / 'tempest'
    work = folder / 'tempest'
    # None of our PYTHONPATH: this very folder would pass for the package "tempest". And stestr would run
    # the interpreter that PYTHON names.
    env = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PYTHON')}
    env |= {'HOME': str(folder), 'PYTHONWARNINGS': 'ignore', 'PATH': f'{program.parent}:{env["PATH"]}'}
    processes.run([program, 'init', work], env=env)
    said = processes.run([program, 'run', '--list-tests'], cwd=work, env=env)
    chosen = choose(
        [line for line in said.splitlines() if line.startswith(('tempest.', 'cinder_tempest_plugin.'))], options.regex
    )
    if options.list:
        print('\n'.join(chosen))
        return 0
    report(f'{len(chosen)} tests are chosen')
    names = folder / 'chosen.txt'
    names.write_text('\n'.join(chosen))
    with contextlib.ExitStack() as stack:
        keystone = stack.enter_context(Keystone(folder / 'keystone', cache=options.cache))
        report('Keystone serves')
        glance = stack.enter_context(Glance(folder / 'glance', keystone, cache=options.cache))
        keystone.identity.register('image', 'glance', glance.url)
        image = make_image(keystone, glance)
        report('Glance serves')
        url = stack.enter_context(serve(folder / 'service', keystone))
        keystone.register_volume(url)
        # Where no Neutron is, each call is a 404, from which Tempest sees that a project it removes has
        # no security groups.
        keystone.identity.register('network', 'nobody', f'{url.removesuffix("/v3")}/nobody')
        report('multiattach serves')
        conf = work / 'etc' / 'tempest.conf'
        conf.touch(0o600)
        with conf.open('w') as file:
            render_configuration(keystone, image, work).write(file)
        done = subprocess.run(
            [program, 'run', '--load-list', names, '--concurrency', str(options.concurrency)],
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if options.report:
            stream = subprocess.run(
                [program.parent / 'stestr', 'last', '--subunit'], cwd=work, env=env, capture_output=True, check=False
            )
            options.report.write_bytes(stream.stdout)
    return done.returncode


def main() -> int:
    """Run the program."""
    options = parse(sys.argv[1:])
    if options.folder is not None:
        options.folder.mkdir(parents=True)
        return run(options, options.folder.resolve())
    with tempfile.TemporaryDirectory(prefix='tempest-') as name:
        return run(options, Path(name).resolve())


if __name__ == '__main__':
    sys.exit(main())
