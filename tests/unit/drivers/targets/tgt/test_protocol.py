# SPDX-License-Identifier: Apache-2.0
import struct

import pytest

from multiattach.drivers.errors import TargetRequestInvalid
from multiattach.drivers.targets.tgt.protocol import (
    ErrorCode,
    Mode,
    Op,
    Request,
    TgtError,
    check_value,
    decode_reply_header,
    decode_reply_text,
    tolerate,
)


def test_request_has_tgtds_layout() -> None:
    # Offsets as a C compiler gives them for struct tgtadm_req.
    request = Request('x', Mode.CONNECTION, Op.DELETE, tid=7, sid=1 << 40, lun=3, cid=9, force=True)
    data = request.encode()
    assert len(data) == 120
    assert struct.unpack_from('=II', data, 0) == (6, 1)
    assert data[8:72].rstrip(b'\0') == b'iscsi'
    assert struct.unpack_from('=Ii', data, 72) == (120, 7)
    assert struct.unpack_from('=QQI', data, 80) == (1 << 40, 3, 9)
    assert struct.unpack_from('=I', data, 116) == (1,)


def test_parameters_follow_in_order_and_end_with_nul() -> None:
    request = Request('x', Mode.ACCOUNT, Op.NEW, (('user', 'u1'), ('password', 'p1')))
    data = request.encode()
    assert data[120:] == b'user=u1,password=p1\0'
    assert struct.unpack_from('=I', data, 72) == (len(data),)


def test_show_all_is_a_negative_number() -> None:
    data = Request('x', Mode.TARGET, Op.SHOW).encode()
    assert struct.unpack_from('=i', data, 76) == (-1,)


def test_repr_hides_parameters() -> None:
    request = Request('make account', Mode.ACCOUNT, Op.NEW, (('password', 'hush'),))
    assert 'hush' not in repr(request)
    assert 'hush' not in f'{request} {[request]}'


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('path', '/a,b'),
        ('path', '/a\nb'),
        ('path', '/a\0b'),
        ('path', ''),
        ('path', '/' + 'x' * 1000),
        ('targetname', 'iqn.x:a_b'),
        ('targetname', 'iqn.x:a b'),
        ('initiator-name', 'iqn.x:a=b'),
        ('initiator-name', 'iqn.x:a@b'),
        ('initiator-name', 'iqn.x:\u00e4'),
        ('initiator-name', 'ALL'),
        ('initiator-name', 'iqn.x:a\n'),
        ('user', 'a,password=b'),
        ('user', 'a b'),
        ('user', ''),
        ('password', 'a,b'),
        ('password', 'a b'),
        ('password', 'ä'),
        ('initiator-address', 'ALL,initiator-name=x'),
    ],
)
def test_values_that_would_mean_something_else_are_refused(name: str, value: str) -> None:
    with pytest.raises(TargetRequestInvalid) as error:
        Request('x', Mode.TARGET, Op.BIND, ((name, value),)).encode()
    assert len(value) < 5 or value not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('path', '/dev/vg/volume-1 with space'),
        ('path', '/srv/ü'),
        ('initiator-name', 'iqn.1994-05.com.redhat:a1B2_c'),
        ('initiator-name', 'naa.52004567BA64678D'),
        ('initiator-name', 'fake'),
        ('password', 'aZ09!~'),
        ('initiator-address', '[fe80::1]/64'),
    ],
)
def test_ordinary_values_pass(name: str, value: str) -> None:
    check_value(name, value)


def test_reply() -> None:
    assert decode_reply_header(struct.pack('=II', 0, 8)) == (ErrorCode.SUCCESS, 0)
    assert decode_reply_header(struct.pack('=II', 14, 20)) == (ErrorCode.USER_EXISTS, 12)
    assert decode_reply_header(struct.pack('=II', 999, 8))[0] is ErrorCode.UNLISTED
    with pytest.raises(ValueError, match='length'):
        decode_reply_header(struct.pack('=II', 0, 7))
    assert decode_reply_text(b'Target 1: x\n\0') == 'Target 1: x\n'


def refuse(code: ErrorCode) -> None:
    raise TgtError(code, 'x')


def test_tolerate_takes_only_what_is_named() -> None:
    with tolerate(ErrorCode.NO_USER):
        refuse(ErrorCode.NO_USER)
    with pytest.raises(TgtError), tolerate(ErrorCode.NO_USER):
        refuse(ErrorCode.NO_TARGET)
