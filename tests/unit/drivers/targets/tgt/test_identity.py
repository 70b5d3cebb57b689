# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain.connection import wwn
from multiattach.drivers.errors import TargetRequestInvalid
from multiattach.drivers.targets.base import Grant, account_name, generate_secret
from multiattach.drivers.targets.tgt.identity import scsi_id, scsi_serial

ID = 'e7d47570-f5ed-4e09-ae4f-0bd46caf0d68'


def test_identity() -> None:
    assert scsi_id(ID) == 'e7d47570f5ed4e09ae4f0bd46caf0d68'
    assert wwn(ID) == '67d47570f5ed4e09ae4f0bd46caf0d68'
    assert scsi_serial(ID) == 'volume-e7d47570-f5ed-4e09-ae4f-0bd46'


@pytest.mark.parametrize(
    'volume_id', ['', 'x', '../' + ID[3:], ID.upper(), f'{{{ID}}}', f'urn:uuid:{ID}', ID.replace('-', '')]
)
def test_only_plain_uuids(volume_id: str) -> None:
    with pytest.raises(TargetRequestInvalid):
        scsi_id(volume_id)


def test_account_names() -> None:
    name = account_name(ID, 'iqn.x:one')
    assert name == account_name(ID, 'iqn.x:one')
    assert len(name) == 20
    assert name.isalnum()
    assert name != account_name(ID, 'iqn.x:two')
    assert name != account_name(ID[:-1] + '9', 'iqn.x:one')


def test_secrets() -> None:
    secrets = {generate_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(secret) == 16 and secret.isalnum() for secret in secrets)
    assert 'hush' not in repr(Grant('iqn.x:one', 'u', 'hush'))
