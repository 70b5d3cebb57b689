# SPDX-License-Identifier: Apache-2.0
"""The Debian 12 packages that the test bed stands on."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.testbed.processes import run
from tests.testbed.progress import report

_BINDEP = Path(__file__).parents[2] / 'bindep.txt'


def read_packages(purpose: str) -> tuple[str, ...]:
    """Read from ``bindep.txt`` the names of the packages of one of its profiles."""
    lines = re.findall(r'^([\w.+-]+) \[platform:dpkg ([\w -]+)\]$', _BINDEP.read_text(), re.MULTILINE)
    return tuple(name for name, profiles in lines if purpose in profiles.split())


#: package names per purpose
PACKAGES: dict[str, tuple[str, ...]] = {
    'quickstart': read_packages('quickstart'),
    'quickstart-rbd': read_packages('quickstart') + read_packages('quickstart-rbd'),
    'e2e': read_packages('test'),
}

_POLICY = Path('/usr/sbin/policy-rc.d')
_APT = ('apt-get', '-q', '-y', '-o', 'DPkg::Lock::Timeout=600')


def find_missing(names: Iterable[str]) -> list[str]:
    """Find the packages that are not installed.

    :param names: Debian package names
    :returns: those missing, in the same order
    """
    done = subprocess.run(
        ['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n'], capture_output=True, text=True, check=True
    )
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(' installed')}
    return [name for name in names if name not in installed]


def install(purpose: str) -> list[str]:
    """Install the packages for a purpose that are missing, starting no service.

    :param purpose: a key of PACKAGES
    :returns: the names of the packages that had to be installed
    :raises TestbedError: when apt-get fails
    """
    missing = find_missing(PACKAGES[purpose])
    if not missing:
        report(f'packages for {purpose}: all installed')
        return []
    env = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
    report('apt-get update')
    run([*_APT, 'update'], env=env)
    report(f'apt-get install of {len(missing)}: {" ".join(missing)}')
    # invoke-rc.d asks this file whether a service may start: 101 is "no".
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text('#!/bin/sh\nexit 101\n')
        _POLICY.chmod(0o755)
    try:
        run([*_APT, 'install', '--no-install-recommends', *missing], env=env, timeout=3600)
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
    report(f'packages for {purpose}: installed')
    return missing
