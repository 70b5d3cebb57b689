# SPDX-License-Identifier: Apache-2.0
"""QoS specs as numbers (contract 8.1 step 5)."""

import pytest

from multiattach.domain import errors, qos


@pytest.mark.parametrize(
    ('consumer', 'told'),
    [
        ('front-end', {'read_iops_sec': '7', 'vendor': None}),
        ('both', {'read_iops_sec': '7', 'vendor': None}),
        ('back-end', None),
    ],
)
def test_hosts_are_told_of_what_is_theirs(consumer: str, told: dict[str, str | None] | None) -> None:
    assert qos.tell_host(consumer, {'read_iops_sec': '7', 'vendor': None}, 3) == told


@pytest.mark.parametrize('rate', qos.RATES)
@pytest.mark.parametrize(
    ('least', 'most', 'size', 'value'),
    [
        (None, None, 3, 300),
        ('1000', None, 3, 1000),
        ('10', None, 3, 300),
        (None, '200', 3, 200),
        ('1000', '200', 3, 200),
        (None, '1000', 3, 300),
    ],
)
def test_rates_per_gib_are_multiplied_out_within_their_bounds(
    rate: str, least: str | None, most: str | None, size: int, value: int
) -> None:
    specs: dict[str, str | None] = {f'{rate}_per_gb': '100', rate: '1', 'other': 'stays'}
    specs |= {f'{rate}_per_gb_min': least} if least else {}
    specs |= {f'{rate}_max': most} if most else {}
    before = dict(specs)
    assert qos.tell_host('front-end', specs, size) == {rate: value, 'other': 'stays'}
    assert specs == before


def test_a_burst_without_a_rate_per_gib_stays() -> None:
    assert qos.tell_host('both', {'read_iops_sec_max': '9'}, 3) == {'read_iops_sec_max': '9'}


@pytest.mark.parametrize('value', ['', 'many', '-1', '1.5', '٣', '1' * 19, None])
@pytest.mark.parametrize(
    'key', ['read_iops_sec', 'write_bytes_sec_max', 'total_iops_sec_per_gb', 'total_bytes_sec_per_gb_min']
)
def test_a_rate_must_be_a_number(key: str, value: str | None) -> None:
    with pytest.raises(errors.InvalidInput, match=key):
        qos.check_specs({'vendor': 'x', key: value})


@pytest.mark.parametrize(
    ('told', 'rates'),
    [
        (None, {}),
        ({}, {}),
        ({'vendor': '7', 'size_iops_sec': '8'}, {}),
        (
            {'read_iops_sec': '7', 'total_bytes_sec': 8, 'write_iops_sec_max': '9', 'x': None},
            {'read_iops_sec': 7, 'total_bytes_sec': 8, 'write_iops_sec_max': 9},
        ),
        ({'read_iops_sec': None, 'write_iops_sec': 'old'}, {}),
    ],
)
def test_hypervisors_keep_what_they_know(told: dict[str, object] | None, rates: dict[str, int]) -> None:
    assert qos.find_rates(told) == rates


def test_other_keys_may_be_anything() -> None:
    qos.check_specs({'vendor': 'x', 'iops': None, 'read_iops_sec': '0'})


@pytest.mark.parametrize('consumer', [None, '', 'Front-End', 'nobody'])
def test_an_unknown_consumer(consumer: str | None) -> None:
    with pytest.raises(errors.InvalidInput, match='front-end, back-end, both'):
        qos.check_consumer(consumer)
