# SPDX-License-Identifier: Apache-2.0
"""What it costs to look for drift where there is none: ``python -m tests.benchmarks.reconcile``.

Three parts, each in CPU seconds per round: the volume worker with as many attachments as asked for (rows in
SQLite, and what tgtd would say of as many targets); a real tgtd with some real targets, its own share told
apart; and host agents, with the XML of as many servers.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from multiattach.db import models
from multiattach.db.transitions import Actor
from multiattach.domain.connection import DeviceInfo, TargetAddress
from multiattach.domain.findings import DriftRules
from multiattach.drivers.hypervisors.base import Disk, ServerDisks
from multiattach.drivers.hypervisors.libvirt import xml
from multiattach.drivers.hypervisors.libvirt.connection import DomainState
from multiattach.drivers.hypervisors.libvirt.disks import DiskReader
from multiattach.drivers.targets.base import Export, Grant, account_name
from multiattach.drivers.targets.tgt.parse import Listing
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.reader import ExportReader
from multiattach.drivers.targets.tgt.target import TgtTarget
from multiattach.host.reconciler import HostReconciler
from multiattach.steps.reconciliation import Reconciliation
from multiattach.volume.reconciler import VolumeReconciler
from tests.deployments import embedded
from tests.functional.drivers.targets.tgt.conftest import free_portal

_TICKS = os.sysconf('SC_CLK_TCK')
_ROUNDS = 5
_SERVERS = 100  # of each host
PREFIX = 'iqn.2010-10.org.openstack:'


class SpokenDaemon:
    """Says what tgtd said of one target, of many."""

    def __init__(self, text: str, volume_ids: list[str]) -> None:
        self._text = (
            '\n'.join(
                text.replace('VOLUME', ident)
                .replace('Target NUMBER:', f'Target {number}:')
                .replace('ACCOUNT', account_name(ident, _initiator(number)))
                .replace('INITIATOR', _initiator(number))
                .strip('\n')
                for number, ident in enumerate(volume_ids, 1)
            )
            + '\n'
        )
        self.show_targets()  # what cannot be read costs next to nothing, and shows no drift

    def show_targets(self) -> Listing:
        return Listing(self._text)


class SpokenTarget:
    """A target whose daemon only speaks."""

    def __init__(self, daemon: Any, files: frozenset[str]) -> None:
        self._reader = ExportReader(daemon, PREFIX, None)
        self._files = files

    def list_exports(self) -> Any:
        return self._reader.list_exports()

    def list_files(self) -> frozenset[str]:
        return self._files

    def locate(self, volume_id: str) -> TargetAddress:
        return _locate(volume_id)

    def name_account(self, volume_id: str, initiator: str) -> str:
        return account_name(volume_id, initiator)


def _locate(volume_id: str) -> TargetAddress:
    return TargetAddress(f'{PREFIX}volume-{volume_id}', '127.0.0.1:3260', 1)


def _initiator(number: int) -> str:
    return f'iqn.1994-05.com.redhat:host-{number // _SERVERS:05}'


def insert(deployed: embedded.Deployment, number: int, locate: Callable[[str], TargetAddress] = _locate) -> list[str]:
    """Insert attachments, each of a volume of its own, _SERVERS to a host."""
    with deployed.db.reader() as session:
        type_id = session.scalars(sa.select(models.VolumeType.id)).first()
    volumes, rows, now = [], [], models.now()
    for count in range(1, number + 1):
        ident = str(uuid.uuid4())
        volumes.append(
            {
                'id': ident,
                'project_id': 'p',
                'size': 1,
                'volume_type_id': type_id,
                'status': 'in-use',
                'host': embedded.BACKEND,
                'multiattach': True,
                'bootable': False,
                'created_at': now,
                'status_at': now,
            }
        )
        rows.append(
            {
                'id': str(uuid.uuid4()),
                'volume_id': ident,
                'instance_uuid': str(uuid.uuid4()),
                'state': 'attached',
                'state_at': now,
                'initiator': _initiator(count),
                'attached_host': f'host-{count // _SERVERS:05}',
                'agent_host': f'host-{count // _SERVERS:05}',
                'connection_info': {
                    'auth_username': account_name(ident, _initiator(count)),
                    'auth_password': 'x' * 16,
                    **locate(ident).tell(),
                },
                'created_at': now,
                'timeline': '',
                'delete_on_termination': False,
            }
        )
    with deployed.db.writer() as session:
        session.execute(sa.insert(models.Volume), volumes)
        session.execute(sa.insert(models.Attachment), rows)
    return [row['id'] for row in volumes]


def measure(call: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of this process: of the first round, and of one of the next on average."""
    began = time.process_time()
    assert call() == [], 'there is drift'
    first = time.process_time() - began
    began = time.process_time()
    for _ in range(_ROUNDS):
        assert call() == [], 'there is drift'
    return first, (time.process_time() - began) / _ROUNDS


def read_cpu(pid: int) -> float:
    """CPU seconds of another process."""
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def make_reconciler(deployed: embedded.Deployment, target: Any) -> VolumeReconciler:
    return VolumeReconciler(
        Reconciliation(deployed.db, Actor('benchmark')),
        deployed.exporter,
        target,
        deployed.exporter._locks,
        embedded.BACKEND,
        (DriftRules(), 60.0),
    )


def capture(tgtd: PrivateTgtd, target: TgtTarget, folder: pathlib.Path) -> str:
    """What tgtd says of a target with one admitted initiator, with words in place of what differs."""
    ident, path = str(uuid.uuid4()), folder / 'captured'
    path.write_bytes(b'\0' * (1 << 20))
    account = account_name(ident, _initiator(1))
    target.ensure_export(Export(ident, str(path), (Grant(_initiator(1), account, 'x' * 16),)))
    text = re.sub('^Target [0-9]+:', 'Target NUMBER:', tgtd.daemon.show_targets()._text)
    target.remove_export(ident)
    return text.replace(ident, 'VOLUME').replace(account, 'ACCOUNT').replace(_initiator(1), 'INITIATOR')


def measure_tgtd(folder: pathlib.Path, number: int) -> tuple[str, dict[str, float]]:
    """A real tgtd with some real targets."""
    tgtd = PrivateTgtd(portal=free_portal(), threads=1)
    tgtd.start()
    try:
        target = TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=folder / 'targets')
        text = capture(tgtd, target, folder)
        with embedded.deploy(folder / 'real', target, report_interval=3600, start_worker=False) as deployed:
            store = folder / 'store'
            store.write_bytes(b'\0' * (1 << 20))
            for count, ident in enumerate(insert(deployed, number, target.locate), 1):
                name = _initiator(count)
                target.ensure_export(Export(ident, str(store), (Grant(name, account_name(ident, name), 'x' * 16),)))
            reconciler = make_reconciler(deployed, target)
            began = read_cpu(tgtd.daemon.pid)
            first, each = measure(lambda: reconciler.run(fix=None))
            daemon = (read_cpu(tgtd.daemon.pid) - began) / (_ROUNDS + 1)
    finally:
        tgtd.stop()
    return text, {'targets': number, 'worker_first': first, 'worker': each, 'tgtd': daemon}


class Domains:
    """Servers whose XML is read again in each round."""

    losses = 0

    def __init__(self, rows: list[tuple[str, str, str]]) -> None:
        self._servers = []
        for server, volume, attachment in rows:
            disk = xml.build_disk(
                Disk(
                    attachment,
                    volume,
                    DeviceInfo(
                        'block', path=f'/dev/disk/by-path/ip-192.0.2.1:3260-iscsi-{PREFIX}volume-{volume}-lun-1'
                    ),
                    '/dev/vdb',
                    multiattach=True,
                ),
                'vdb',
            )
            text = _DOMAIN.replace('DISK', disk)
            self._servers.append((server, text.encode()))
        self._reader = DiskReader()

    def list_disks(self) -> list[ServerDisks]:
        # As it comes from libvirt: a text of its own each time.
        return self._reader.read(
            [DomainState(server, 'web', 'running', text.decode(), text.decode()) for server, text in self._servers],
            frozenset(),
        )

    def list_secrets(self) -> frozenset[str]:
        return frozenset()


class NoSessions:
    shares_sessions = False

    def list_sessions(self) -> list[Any]:
        return []


class NoSteps:
    fenced = None


def _render_domain() -> str:
    """A server as libvirt shows it, with DISK in place of the volume."""
    ports = ''.join(
        f"<controller type='pci' index='{number}' model='pcie-root-port'><model name='pcie-root-port'/>"
        f"<target chassis='{number}'/><address type='pci' slot='0x{number:02x}'/></controller>"
        for number in range(1, 16)
    )
    return (
        "<domain type='kvm'><name>web</name><memory>4194304</memory><devices>"
        "<emulator>/usr/bin/qemu-system-x86_64</emulator><disk type='file' device='disk'>"
        "<driver name='qemu' type='qcow2'/><source file='/var/lib/instances/disk'/>"
        "<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>DISK"
        f"{ports}<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br-int'/>"
        "<model type='virtio'/></interface><serial type='pty'><target port='0'/></serial>"
        "<video><model type='virtio'/></video></devices></domain>"
    )


_DOMAIN = _render_domain()


def measure_host(deployed: embedded.Deployment) -> tuple[float, float]:
    """One host agent with _SERVERS servers."""
    name = f'host-{1:05}'
    with deployed.db.reader() as session:
        rows = [
            (str(row[0]), row[1], row[2])
            for row in session.execute(
                sa.select(models.Attachment.instance_uuid, models.Attachment.volume_id, models.Attachment.id).where(
                    models.Attachment.agent_host == name
                )
            )
        ]
    assert len(rows) == _SERVERS
    parts: tuple[Any, ...] = Domains(rows), NoSessions(), NoSteps()
    agent = HostReconciler(Reconciliation(deployed.db, Actor('benchmark')), *parts, name, (DriftRules(), 60.0))
    return measure(lambda: agent.run(fix=None))


def main() -> int:
    """Measure, print a table, and say whether the aim is met.

    :returns: exit status; 1 if the aim is missed.
    """
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.reconcile',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--attachments', type=int, default=10_000, help='default: 10000')
    parser.add_argument('--targets', type=int, default=1000, help='real ones, 0 for none (default: 1000)')
    parser.add_argument('--json', type=pathlib.Path, help='write the results there')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / 'real').mkdir()
        (folder / 'spoken').mkdir()
        text, real = measure_tgtd(folder, args.targets)
        with embedded.deploy(folder / 'spoken', report_interval=3600, start_worker=False) as deployed:
            volumes = insert(deployed, args.attachments)
            target = SpokenTarget(SpokenDaemon(text, volumes), frozenset(volumes))
            reconciler = make_reconciler(deployed, target)
            first, each = measure(lambda: reconciler.run(fix=None))
            host_first, host_each = measure_host(deployed)
    hosts = args.attachments // _SERVERS
    daemon = real['tgtd'] / max(real['targets'], 1) * args.attachments
    found = {
        'load': os.getloadavg()[0],
        'attachments': args.attachments,
        'worker_first_s': first,
        'worker_s': each,
        'real_targets': real['targets'],
        'real_worker_s': real['worker'],
        'real_tgtd_s': real['tgtd'],
        'tgtd_s_for_all': daemon,
        'host_s': host_each,
        'hosts': hosts,
        'hosts_s': host_each * hosts,
        'hosts_first_s': host_first * hosts,
        'sum_s_per_minute': each + daemon + host_each * hosts,
    }
    for key, value in found.items():
        print(f'{key:20} {round(value, 4)}')
    if args.json:
        args.json.write_text(json.dumps(found) + '\n')
    return int(found['sum_s_per_minute'] > 2)


if __name__ == '__main__':
    sys.exit(main())
