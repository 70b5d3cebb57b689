# SPDX-License-Identifier: Apache-2.0
"""Extra specs of volume types: the one parser of ``<is> True`` and the capability match.

Contract 4 and 11.4 number 10: Cinder has two predicates that disagree; here a value that the
one parser does not take is refused when it is set.
"""

from collections.abc import Mapping

from multiattach.domain import capabilities as operators, errors

MULTIATTACH = 'multiattach'
# How many servers may have a volume of the type; with a scope, so that no backend need report it.
MAX_ATTACHMENTS = 'multiattach:max_attachments'
# What only some targets can do, by the capability that their workers report (docs: user/reservations): they keep
# SCSI-3 registrations whatever restarts, and let nobody write by an attachment that is "ro".
RESERVATIONS = 'multiattach:reservations'
ENFORCE_READ_ONLY = 'multiattach:enforce_read_only'
OF_TARGETS = {RESERVATIONS: 'reservations', ENFORCE_READ_ONLY: 'enforce_read_only'}
# Names of zones with commas between: where volumes of the type may be.
ZONES = 'RESKEY:availability_zones'
_MOST = 2**31 - 1
_SCOPE = 'capabilities'
_OPERATOR = '<is>'

# Extra specs that people without the admin role may see (contract 4), and what their servers need to know.
PUBLIC_SPECS = frozenset({MULTIATTACH, 'replication_enabled', ZONES, *OF_TARGETS})


def parse_is(value: str | None) -> bool | None:
    """Parse a boolean operator, ``<is> True`` or ``<is> False``; None if it is neither."""
    words = (value or '').split()
    if len(words) != 2 or words[0] != _OPERATOR:
        return None
    return operators.parse_boolean(words[1])


def is_multiattach(specs: Mapping[str, str | None]) -> bool:
    return parse_is(specs.get(MULTIATTACH)) is True


def keeps_reservations(specs: Mapping[str, str | None]) -> bool:
    return parse_is(specs.get(RESERVATIONS)) is True


def list_changes(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> list[str]:
    """List the keys of :data:`OF_TARGETS` that mean something else in another type."""
    return [key for key in OF_TARGETS if bool(parse_is(before.get(key))) != bool(parse_is(after.get(key)))]


def parse_max_attachments(value: str | None) -> int | None:
    """Parse the cap on attachments, a whole number from 1; None if it is none."""
    text = (value or '').strip()
    if not text.isascii() or not text.isdigit() or len(text) > len(str(_MOST)):
        return None
    return int(text) if 1 <= int(text) <= _MOST else None


def check_specs(specs: Mapping[str, str | None]) -> None:
    """Refuse extra specs that could not mean what their author wants.

    :raises InvalidInput: a value of its own keys that is no boolean operator, a cap that is no number,
        multiattach together with ``cacheable`` (contract 3.4) or as a wish of a backend only, what only
        shared volumes have without it, or an operator that is not understood.
    """
    for key in (MULTIATTACH, *OF_TARGETS):
        if key in specs and parse_is(specs[key]) is None:
            raise errors.InvalidInput(f'Extra spec {key} must be "<is> True" or "<is> False", not {specs[key]!r}.')
        if parse_is(specs.get(key)) is True and not is_multiattach(specs):
            raise errors.InvalidInput(
                f'Extra spec {key} is for volumes that servers share: set multiattach="<is> True", too.'
            )
    if MAX_ATTACHMENTS in specs and parse_max_attachments(specs[MAX_ATTACHMENTS]) is None:
        raise errors.InvalidInput(
            f'Extra spec {MAX_ATTACHMENTS} must be a whole number from 1, not {specs[MAX_ATTACHMENTS]!r}.'
        )
    if is_multiattach(specs) and parse_is(specs.get('cacheable')) is True:
        raise errors.InvalidInput('Extra specs multiattach and cacheable exclude each other.')
    for key, value in specs.items():
        if _find_capability(key):
            operators.check_requirement(key, value)
    scoped = f'{_SCOPE}:{MULTIATTACH}'
    if parse_is(specs.get(scoped)) is True and not is_multiattach(specs):
        raise errors.InvalidInput(
            f'Extra spec {scoped} only chooses a backend; volumes of the type would not be shared. Set '
            'multiattach="<is> True" for that.'
        )


def is_satisfied(specs: Mapping[str, str | None], capabilities: Mapping[str, object]) -> bool:
    """Return whether a backend's capabilities meet each of a type's extra specs (contract 4).

    Keys with a scope (``a:b``) other than ``capabilities:`` say nothing about capabilities, but for :data:`OF_TARGETS`;
    ``capabilities:a:b`` is ``b`` inside ``a``.
    """
    for key, wanted in specs.items():
        path = _find_capability(key)
        if key in OF_TARGETS:  # whoever does without takes any backend
            path = [OF_TARGETS[key]] if parse_is(wanted) else []
        found: object = capabilities
        for name in path:
            if not isinstance(found, Mapping) or name not in found:
                return False
            found = found[name]
        if path and not operators.is_met(found, wanted):
            return False
    return True


def is_allowed(specs: Mapping[str, str | None], zone: str) -> bool:
    """Return whether volumes of a type may be in a zone: in any unless the type names some."""
    names = list_zones(specs)
    return not names or zone in names


def list_zones(specs: Mapping[str, str | None]) -> list[str]:
    """List the zones in which volumes of a type may be; none for any."""
    return [name for word in (specs.get(ZONES) or '').split(',') if (name := word.strip())]


def _find_capability(key: str) -> list[str]:
    """Return the path to the capability that an extra spec is about; empty if it is about none."""
    names = key.split(':')
    if names[0] == _SCOPE:
        return names[1:]
    return names if len(names) == 1 else []
