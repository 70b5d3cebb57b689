# SPDX-License-Identifier: Apache-2.0
"""QoS specs: who sees to them, and what a host is told of them (contract 8.1 step 5)."""

from collections.abc import Mapping

from multiattach.domain import errors

CONSUMERS = ('front-end', 'back-end', 'both')
DEFAULT_CONSUMER = 'back-end'
# Those of which hosts are told.
FRONT_END = ('front-end', 'both')
# Rates that a hypervisor keeps; as "_per_gb" they grow with the volume, between "_per_gb_min" and "_max".
RATES = ('read_iops_sec', 'read_bytes_sec', 'write_iops_sec', 'write_bytes_sec', 'total_iops_sec', 'total_bytes_sec')
_NUMBERS = frozenset(rate + suffix for rate in RATES for suffix in ('', '_max', '_per_gb', '_per_gb_min'))
_MAX_DIGITS = 18


def check_consumer(consumer: object) -> None:
    """Refuse a consumer that is none of :data:`CONSUMERS`.

    :raises InvalidInput: it is none.
    """
    if consumer not in CONSUMERS:
        raise errors.InvalidInput(f'Invalid qos specs: Valid consumer of QoS specs are: {", ".join(CONSUMERS)}.')


def check_specs(specs: Mapping[str, str | None]) -> None:
    """Refuse rates that are no numbers: an attach would fail on them.

    :raises InvalidInput: names the key.
    """
    for key in sorted(_NUMBERS & specs.keys()):
        if not is_number(specs[key]):
            raise errors.InvalidInput(f'Invalid qos specs: {key} must be a whole number of 1 to {_MAX_DIGITS} digits.')


def is_number(value: object) -> bool:
    """Return whether a value can be a rate: a whole number from 0."""
    text = str(value)
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def tell_host(consumer: str, specs: Mapping[str, str | None], size: int) -> dict[str, str | int | None] | None:
    """Return ``qos_specs`` of a connection_info, rates per GiB multiplied out; None if hosts are not to see to them.

    :param size: of the volume, GiB.
    """
    if consumer not in FRONT_END:
        return None
    told: dict[str, str | int | None] = dict(specs)
    for rate in RATES:
        per_gb = told.pop(f'{rate}_per_gb', None)
        if per_gb is None:
            continue
        value = max(int(per_gb) * size, int(told.pop(f'{rate}_per_gb_min', None) or 0))
        most = told.pop(f'{rate}_max', None)
        told[rate] = value if most is None else min(value, int(most))
    return told


def find_rates(told: Mapping[str, object] | None) -> dict[str, int]:
    """Return the rates of :data:`RATES` and their bursts (``_max``) that a host was told, 0 for no limit."""
    names = [rate + suffix for rate in RATES for suffix in ('', '_max')]
    values = ((name, (told or {}).get(name)) for name in names)
    return {name: int(str(value)) for name, value in values if is_number(value)}
