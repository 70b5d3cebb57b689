# SPDX-License-Identifier: Apache-2.0
"""The database against the tgtd: no export without a row, no row without an export."""

from collections.abc import Sequence

from multiattach.domain import states
from multiattach.drivers.targets.base import account_name
from multiattach.drivers.targets.tgt.parse import Listing, parse_accounts
from tests.deployments.distributed import Deployment
from tests.functional.cluster.client import Place
from tests.functional.drivers.targets.tgt.initiator import Session
from tests.testbed.polling import look_until, wait_until

PREFIX = 'iqn.2010-10.org.openstack:volume-'
_UNDER_WAY = "('exporting', 'unexporting', 'fencing')"


def wait_settled(cloud: Deployment, seconds: float = 30) -> None:
    """Wait until no worker has a step to take; by the rows, without any client."""
    wait_until(lambda: not list_under_way(cloud), seconds, 'the end of all steps', 0.1)


def list_under_way(cloud: Deployment) -> list[tuple[str, str]]:
    return cloud.query(f'SELECT id, state FROM attachments WHERE deleted_at IS NULL AND state IN {_UNDER_WAY}')


def check_agreement(cloud: Deployment) -> None:
    """Compare rows with targets, leave to log in, and accounts.

    An order that a worker had not ended when it was killed may still be carried out again by another one, which makes
    an account anew whose secret it does not know: so it is looked again.
    """
    left = look_until(lambda: list_differences(cloud), lambda found: not found, 15, 0.5)
    assert not left, '\n'.join(left)


def list_differences(cloud: Deployment) -> list[str]:
    wished: dict[str, set[str]] = {}
    for volume, initiator, state in cloud.query(
        'SELECT volume_id, initiator, state FROM attachments WHERE deleted_at IS NULL'
    ):
        if state in states.ADMITTED:
            wished.setdefault(volume, set()).add(initiator)
    shown = {
        target.iqn.removeprefix(PREFIX): target
        for target in Listing(cloud.tgtd.administer('--op', 'show', '--mode', 'target'))
    }
    kept = {account_name(volume, one) for volume, initiators in wished.items() for one in initiators}
    listed = set(parse_accounts(cloud.tgtd.administer('--op', 'show', '--mode', 'account')))
    found = [f'account {name}: by the rows {name in kept}' for name in sorted(listed ^ kept)]
    for volume in wished.keys() | shown.keys():
        target, initiators = shown.get(volume), wished.get(volume, set())
        if target is None or not initiators:
            found.append(f'target of {volume}: {target}, by the rows {initiators}')
            continue
        accounts = {account_name(volume, one) for one in initiators}
        path = f'{cloud.folder}/volumes/volume-{volume}'
        seen = sorted(target.initiators), sorted(target.accounts), target.luns[1].path, target.luns[1].online
        if seen != (sorted(initiators), sorted(accounts), path, True):
            found.append(f'target of {volume}: {seen}, by the rows {initiators} and {accounts}')
    return found


def check_attached(cloud: Deployment, places: Sequence[Place]) -> None:
    """See that all are attached once nothing is in flight, and can log in."""
    wait_settled(cloud)
    states = cloud.query('SELECT state FROM attachments WHERE deleted_at IS NULL')
    assert states == [('attached',)] * len(places)
    check_agreement(cloud)
    check_logins(places)


def check_none_left(cloud: Deployment) -> None:
    """See that no attachment is left once nothing is in flight."""
    wait_settled(cloud)
    assert cloud.query('SELECT id, state FROM attachments WHERE deleted_at IS NULL') == []
    check_agreement(cloud)


def check_logins(places: Sequence[Place]) -> None:
    """Log in with what the API answered: the target knows the very secret that the row has."""
    for place in places:
        info = place.info
        Session(
            info['target_portal'],
            info['target_iqn'],
            place.connector['initiator'],
            info['auth_username'],
            info['auth_password'],
        ).close()
