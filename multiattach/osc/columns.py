# SPDX-License-Identifier: Apache-2.0
"""Values that people read as text and programs as JSON."""

from typing import Any

from cliff import columns

from multiattach.domain.reservations import TYPES


class Counts(columns.FormattableColumn[dict[str, int]]):
    def human_readable(self) -> str:
        return ', '.join(f'{key}={value}' for key, value in sorted((self._value or {}).items()))


class Lines(columns.FormattableColumn[list[str]]):
    def human_readable(self) -> str:
        return '\n'.join(self._value or [])


class BlocklistEntries(columns.FormattableColumn[list[dict[str, Any]]]):
    """Clients of Ceph that are kept out."""

    def human_readable(self) -> str:
        return '\n'.join(
            f'{one["instance"]} until {one["until"] or "?"} ({one["state"]}{"" if one["needed"] else ", not needed"})'
            for one in self._value or []
        )


class Timeline(columns.FormattableColumn[list[dict[str, Any]]]):
    """Steps of an attachment."""

    def human_readable(self) -> str:
        lines = []
        for step in self._value or []:
            if step.get('dropped'):
                lines.append(f'    ({step["dropped"]} steps are no longer known)')
            source = step['from'] or '-'
            took = '' if step['seconds'] is None else f', took {format_seconds(step["seconds"])}'
            stayed = '' if step['stayed'] is None else f', stayed {format_seconds(step["stayed"])}'
            lines.append(f'{step["at"][:23]}Z {source} -> {step["to"]} ({step["event"]}) by {step["by"]}{took}{stayed}')
            if step['request_id']:
                lines.append(f'    {step["request_id"]}{_tell_caller(step)}')
            if step['error']:
                lines.append(f'    failed: {step["error"]}')
        return '\n'.join(lines)


def _tell_caller(step: dict[str, Any]) -> str:
    """Tell who asked for a step, as far as the service says so."""
    told = (('user', 'user_id'), ('of project', 'project_id'), ('through service', 'service_id'), ('from', 'address'))
    return ''.join(f' {word} {step[key]}' for word, key in told if step.get(key))


class Attachments(columns.FormattableColumn[list[dict[str, Any]]]):
    """Attachments of an explained volume."""

    def human_readable(self) -> str:
        lines = []
        for row in self._value or []:
            host = f' on {row["host"]}' if row.get('host') else ''
            device = f' as {row["device"]}' if row['device'] else ''
            owner = '' if row['owner'] == 'nobody' else f', next: {row["owner"]}'
            lines.append(
                f'{row["id"]} {row["state"]} server {row["server_id"] or "-"}{host}{device} {row["mode"] or "-"}{owner}'
            )
            if row['error']:
                lines.append(f'    failed: {row["error"]}')
        return '\n'.join(lines)


class Gateways(columns.FormattableColumn[list[dict[str, Any]]]):
    """What is known of a volume at each gateway."""

    def human_readable(self) -> str:
        lines = []
        for one in self._value or []:
            state = '' if one['gateway_state'] == 'serving' else f', which is {one["gateway_state"] or "not known"}'
            lines.append(
                f'{one["gateway"]} at {one["portal"] or "?"}{state}: {one["state"]} since {one["since"][:19]}Z'
            )
            if one['error']:
                lines.append(f'    failed: {one["error"]}')
        return '\n'.join(lines)


class GatewayCuts(columns.FormattableColumn[dict[str, dict[str, Any]]]):
    """What a fence did at each gateway."""

    def human_readable(self) -> str:
        return '\n'.join(
            f'{name}: cut {Cut(one["cut"]).human_readable()}, left {Cut(one["left"]).human_readable()}'
            if 'cut' in one
            else f'{name}: shut out of Ceph, {one["instances"]} clients'
            for name, one in sorted((self._value or {}).items())
        )


class Differences(columns.FormattableColumn[list[dict[str, str]]]):
    """Where a target and the record disagree."""

    def human_readable(self) -> str:
        lines = [f'{one["kind"]}: {one["about"]}: {one["text"]}' for one in self._value or []]
        return '\n'.join(lines) or 'none'


class Findings(columns.FormattableColumn[list[dict[str, Any]]]):
    """Drift."""

    def human_readable(self) -> str:
        lines = []
        for one in self._value or []:
            lines.append(f'{one["kind"]} ({one["outcome"]}) since {one["since"][:19]}Z: {one["about"]}: {one["text"]}')
            lines.append(f'    {one["error"] or one["step"]}')
        return '\n'.join(lines) or 'none'


class TargetLines(columns.FormattableColumn[dict[str, Any]]):
    """What a target has."""

    def human_readable(self) -> str:
        target = self._value or {}
        if not target.get('exists'):
            return 'no target'
        return '\n'.join(
            [
                target['iqn'],
                *(f'admits {one}' for one in target['initiators']),
                *(f'session of {one["initiator"]} {one["address"]}'.rstrip() for one in target['sessions']),
            ]
        )


class HostLines(columns.FormattableColumn[list[dict[str, Any]]]):
    """What hosts have."""

    def human_readable(self) -> str:
        lines = []
        for host in self._value or []:
            for server in host['servers']:
                for disk in server['disks']:
                    where = [word for word, flag in (('now', 'live'), ('at its next start', 'saved')) if disk[flag]]
                    secret = '' if disk['has_secret'] else ', its secret is lost'
                    lines.append(
                        f'{host["host"]}: server {server["name"]} ({server["power_state"]}) has '
                        f'{disk["volume_id"]} as {disk["device"]} {" and ".join(where)}{secret}'
                    )
            lines += [f'{host["host"]}: session to {one["iqn"]} at {one["portal"]}' for one in host['sessions']]
        return '\n'.join(lines) or 'nothing'


class HostAttachments(columns.FormattableColumn[list[dict[str, Any]]]):
    """Attachments of an explained host."""

    def human_readable(self) -> str:
        lines = []
        for row in self._value or []:
            lines.append(
                f'{row["id"]} {row["state"]} since {row["since"][:19]}Z volume {row["volume_id"]} '
                f'server {row["server_id"] or "-"}'
            )
            if row['error']:
                lines.append(f'    failed: {row["error"]}')
            if row['owner'] != 'nobody':
                lines.append(f'    next: {row["owner"]}: {row["advice"]}')
        return '\n'.join(lines)


class Cut(columns.FormattableColumn[dict[str, Any] | None]):
    """What a fence took from an initiator, or still saw of it."""

    def human_readable(self) -> str:
        """Write ``ACL, account, registration, 2 sessions, 1 unfinished login``, or ``nothing``."""
        if self._value is None:
            return 'unknown'
        rights = (('ACL', 'acl'), ('account', 'account'), ('registration', 'registration'))
        found = [name for name, key in rights if self._value.get(key)]
        for name, key in (('session', 'sessions'), ('unfinished login', 'logins')):
            number = len(self._value.get(key, ()))
            found += [f'{number} {name}{"s" * (number > 1)}'] if number else []
        return ', '.join(found) or 'nothing'


class Holding(columns.FormattableColumn[int | None]):
    """The type of the reservation that a registrant holds, None for none."""

    def human_readable(self) -> str:
        return '' if self._value is None else f'{self._value}: {TYPES[self._value]}'


class Servers(columns.FormattableColumn[list[dict[str, str]]]):
    """Servers of a host."""

    def human_readable(self) -> str:
        return '\n'.join(f'{one["id"]} {one["name"]} {one["power_state"]}' for one in self._value or [])


class Luns(columns.FormattableColumn[list[dict[str, Any]]]):
    """Logical units."""

    def human_readable(self) -> str:
        return '\n'.join(
            f'{one["lun"]} {"online" if one["online"] else "offline"} {one["device"]}'.strip()
            for one in self._value or []
        )


class Sessions(columns.FormattableColumn[list[dict[str, str]]]):
    """Live logins."""

    def human_readable(self) -> str:
        return '\n'.join(f'{one["initiator"]} {one["address"]}'.strip() for one in self._value or [])


class Recorded(columns.FormattableColumn[list[dict[str, str]]]):
    """Attachments that a target should serve."""

    def human_readable(self) -> str:
        return '\n'.join(f'{one["initiator"]} {one["state"]}' for one in self._value or [])


def format_seconds(seconds: float) -> str:
    """Write a duration: ``12 ms``, ``3.4 s``, ``5 min`` or ``7.5 h``."""
    if seconds < 1:
        return f'{seconds * 1000:.0f} ms'
    if seconds < 120:
        return f'{seconds:.1f} s'
    return f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'
