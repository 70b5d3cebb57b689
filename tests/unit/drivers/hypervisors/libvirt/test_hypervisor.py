# SPDX-License-Identifier: Apache-2.0
import importlib
import subprocess
import sys

import libvirt
import pytest

from multiattach.domain import errors
from multiattach.drivers.errors import DomainNotFound, HypervisorError, HypervisorUnavailable
from multiattach.drivers.hypervisors.base import Hypervisor
from multiattach.drivers.hypervisors.libvirt.connection import DetachPending, DeviceNotFound, LibvirtConnection
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor


@pytest.mark.parametrize(
    ('libvirt_version', 'qemu_version', 'shares'),
    [
        (3_009_000, 2_010_000, False),
        (3_009_999, 5_000_000, False),
        (3_010_000, 2_010_000, True),
        (3_009_000, 2_009_001, True),
        (9_000_000, 7_002_000, True),
    ],
)
def test_row_18(monkeypatch: pytest.MonkeyPatch, libvirt_version: int, qemu_version: int, shares: bool) -> None:
    hypervisor = LibvirtHypervisor()
    monkeypatch.setattr(hypervisor._connection, 'versions', lambda: (libvirt_version, qemu_version))
    reason = hypervisor.cannot_share()
    assert (reason is None) == shares
    if reason:
        assert 'libvirt 3.9.' in reason
        assert '3.10.0 or later' in reason


def test_libvirts_test_driver_is_listed() -> None:
    hypervisor: Hypervisor = LibvirtHypervisor('test:///default')
    (domain,) = hypervisor.domains()
    assert (domain.name, domain.power_state) == ('test', 'running')
    assert set(hypervisor.versions()) == {'libvirt', 'qemu'}
    with pytest.raises(DomainNotFound):
        LibvirtConnection('test:///default').find('00000000-0000-4000-8000-000000000000')


def test_nothing_is_asked_of_libvirt_before_it_is_needed() -> None:
    hypervisor = LibvirtHypervisor('qemu+unix:///system?socket=/nonexistent')
    with pytest.raises(HypervisorUnavailable, match='/nonexistent'):
        hypervisor.domains()
    hypervisor.close()


def test_program_without_libvirt_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'libvirt', None)
    with pytest.raises(errors.ConfigurationError, match=r'multiattach\[host\]'):
        LibvirtHypervisor()


def test_only_the_wall_imports_libvirt() -> None:
    code = (
        'import sys\n'
        'import multiattach.drivers.hypervisors.libvirt.hypervisor, multiattach.host.agent\n'
        'sys.exit("libvirt" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
    assert importlib.import_module('multiattach.drivers.hypervisors.libvirt.hypervisor')


class Refusal(libvirt.libvirtError):  # type: ignore[misc]
    def __init__(self, code: int, message: str, domain: int) -> None:
        Exception.__init__(self, message)
        self.err = (code, domain, message, 2, None, None, None, -1, -1)


@pytest.mark.parametrize(
    ('code', 'message', 'domain', 'kind'),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, 'Domain not found', libvirt.VIR_FROM_QEMU, DomainNotFound),
        (libvirt.VIR_ERR_DEVICE_MISSING, 'device not found', libvirt.VIR_FROM_QEMU, DeviceNotFound),
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            'Device ua-1 is already in the process of unplug',
            libvirt.VIR_FROM_QEMU,
            DetachPending,
        ),
        (libvirt.VIR_ERR_INTERNAL_ERROR, 'PCI slots', libvirt.VIR_FROM_QEMU, HypervisorError),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, 'no', libvirt.VIR_FROM_QEMU, HypervisorError),
        (libvirt.VIR_ERR_INTERNAL_ERROR, 'client socket is closed', libvirt.VIR_FROM_RPC, HypervisorUnavailable),
        (libvirt.VIR_ERR_SYSTEM_ERROR, 'Cannot write data: Broken pipe', libvirt.VIR_FROM_RPC, HypervisorUnavailable),
        (libvirt.VIR_ERR_SYSTEM_ERROR, 'Unable to open file', libvirt.VIR_FROM_QEMU, HypervisorError),
        (
            libvirt.VIR_ERR_OPERATION_TIMEOUT,
            'cannot acquire state change lock',
            libvirt.VIR_FROM_QEMU,
            HypervisorUnavailable,
        ),
        (libvirt.VIR_ERR_INVALID_CONN, 'invalid connection', libvirt.VIR_FROM_NONE, HypervisorUnavailable),
    ],
)
def test_failed_and_unknown_are_different(code: int, message: str, domain: int, kind: type[Exception]) -> None:
    connection = LibvirtConnection('test:///default')
    with pytest.raises(kind, match=message) as caught, connection._translated():
        raise Refusal(code, message, domain)
    assert type(caught.value) is kind
