# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.tgt.parse import (
    Connection,
    Listing,
    ShownTarget,
    parse_accounts,
    parse_busy,
    parse_connections,
    parse_portals,
)

IQN = 'iqn.2010-10.org.openstack:volume-11111111-2222-4333-8444-5555555566ab'
ALIAS = 'host-1'
# What tgtd 1.0.85 writes.
TEXT = """\
Target 1: {iqn}
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 3
            Initiator: iqn.x:one alias: {alias}
            Connection: 0
                IP Address: 127.0.0.1
        I_T nexus: 4
            Initiator: iqn.x:two alias: none
            Connection: 2
                RDMA IP Address: ::1
    LUN information:
        LUN: 0
            Type: controller
            SCSI ID: IET     00010000
            Online: Yes
            Backing store type: null
            Backing store path: None
            Backing store flags:{space}
        LUN: 1
            Type: disk
            SCSI ID: 11111111222243338444555555556
            SCSI SN: beaf11
            Size: 67 MB, Block size: 512
            Online: No
            Backing store type: rdwr
            Backing store path: /srv/with space: and colon
            Backing store flags:{space}
    Account information:
        second
        first
        out (outgoing)
    ACL information:
        ALL
        iqn.x:one
        10.0.0.0/8
        iqn.x:two
Target 5: iqn.y:other
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
    LUN information:
        LUN: 0
            Type: controller
    Account information:
        other
        first
    ACL information:
"""


def listing(alias: str = ALIAS) -> Listing:
    return Listing(TEXT.format(iqn=IQN, alias=alias, space=' '))


def test_one_target() -> None:
    target = listing().find(IQN)
    assert target is not None
    assert target.tid == 1
    assert target.accounts == ['second', 'first']
    assert target.initiators == ['iqn.x:one', 'iqn.x:two']
    assert target.addresses == ['ALL', '10.0.0.0/8']
    assert (target.luns[0].path, target.luns[0].online) == ('', True)
    assert target.luns[1].path == '/srv/with space: and colon'
    assert not target.luns[1].online
    assert target.luns[1].scsi_id == '11111111222243338444555555556'


def test_names_are_compared_whole() -> None:
    assert listing().find(IQN[:-1]) is None
    assert listing().find(IQN + '0') is None


def test_all_targets() -> None:
    assert [target.iqn for target in listing()] == [IQN, 'iqn.y:other']
    assert listing().tids() == {1, 5}
    assert Listing('').tids() == set()


def test_accounts_of_other_targets() -> None:
    assert listing().bound_elsewhere('first', IQN)
    assert not listing().bound_elsewhere('second', IQN)
    assert not listing().bound_elsewhere('oth', IQN)
    assert listing().bound_elsewhere('second', '')


@pytest.mark.parametrize(
    'alias',
    [
        'x\nTarget 9: iqn.y:forged',  # number out of order
        'x\nTarget 2: iqn.y:other',  # name twice
    ],
)
def test_headings_that_contradict_each_other_are_refused(alias: str) -> None:
    with pytest.raises(TargetError, match='inconsistent'):
        listing(alias)


def test_a_target_without_its_own_part_spoils_no_other() -> None:
    text = TEXT.format(iqn=IQN, alias='x', space=' ').replace('    LUN information:\n', '', 1)
    with pytest.raises(TargetError, match='broken'):
        Listing(text).find(IQN)
    assert Listing(text).find('iqn.y:other') is not None


def test_a_target_may_be_shut() -> None:
    text = TEXT.format(iqn=IQN, alias='x', space=' ').replace('State: ready', 'State: offline', 1)
    found = Listing(text).find(IQN)
    assert found is not None
    assert not found.is_open
    assert not _find(
        TEXT.format(iqn=IQN, alias='\n        State: ready\n', space=' ').replace('State: ready', 'State: offline', 1)
    ).is_open


def _find(text: str) -> ShownTarget:
    found = Listing(text).find(IQN)
    assert found is not None
    return found


def test_connections() -> None:
    text = (
        'Session: 12\n    Connection: 0\n        Initiator: iqn.x:one\n'
        '        IP Address: 10.0.0.1\n'
        'Session: 9\n    Connection: 1\n        Initiator: iqn.x:two\n        IP Address: ::1\n'
        'Session: 9\n    Connection: 2\n        Initiator: iqn.x:two\n        IP Address: ::1\n'
    )
    first, second = parse_connections(text)
    assert (first.sid, first.initiator) == (12, 'iqn.x:one')
    assert first.connections == [Connection(0, '10.0.0.1')]
    assert [connection.cid for connection in second.connections] == [1, 2]
    assert parse_connections('') == []


def test_portals_and_accounts() -> None:
    assert parse_portals('Portal: 127.0.0.1:3260,1\nPortal: [::1]:3260,1\n') == ['127.0.0.1:3260', '[::1]:3260']
    assert parse_accounts('Account list:\n    b\n    a\n') == ['b', 'a']
    assert parse_accounts('') == []


def test_targets_with_sessions_are_read_from_the_statistics() -> None:
    head = 'tgt lun sid rd_subm(bytes,cmds) rd_done(bytes,cmds) wr_subm(bytes,cmds) wr_done(bytes,cmds) errs\n'
    line = '{:3}   {}   1            0      0            0      0            0      0            0      0    0\n'
    assert parse_busy(head) == []
    assert parse_busy(head + line.format(882198899, 0) + line.format(7, 0) + line.format(7, 1)) == [7, 882198899]
