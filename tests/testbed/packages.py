# SPDX-License-Identifier: Apache-2.0
"""The Debian 12 packages that the test bed stands on."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.testbed.processes import run
from tests.testbed.progress import report

_GUESTS = (
    'qemu-system-x86',
    'qemu-block-extra',  # QEMU's own iSCSI initiator
    'qemu-utils',
    'libvirt-daemon-system',
    'libvirt-daemon-driver-qemu',
    'libvirt-clients',
    'tgt',
    'busybox-static',
    'kmod',
    'lz4',
    'procps',
)
# libvirt-python has no wheel: it is compiled against libvirt-dev.
_BUILD = ('gcc', 'pkg-config', 'python3-dev', 'python3-venv', 'libvirt-dev')
_HOSTS = (
    'open-iscsi',
    'udev',
    'iproute2',
    'sg3-utils',
    'lsscsi',
    'libiscsi-bin',
    'lvm2',
    'thin-provisioning-tools',
    'e2fsprogs',
    'mariadb-server',
    'postgresql-15',
    'rabbitmq-server',
    'redis-server',
    'etcd-server',
)
_SERVERS = (
    'curl',
    'graphviz',  # pictures of the documentation
    'nginx-light',
    'openssl',
    'shellcheck',
    'sudo',  # devstack's user has no other way to be root
    'systemd',  # systemd-analyze
)

#: package names per purpose
PACKAGES: dict[str, tuple[str, ...]] = {'quickstart': _GUESTS + _BUILD, 'e2e': _GUESTS + _BUILD + _HOSTS + _SERVERS}

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
