# SPDX-License-Identifier: Apache-2.0
"""No input gives a 5xx or a reply that is not described; ``MULTIATTACH_FUZZ=20`` runs longer."""

import contextlib
from typing import Any

import hypothesis
import hypothesis.errors
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from multiattach.api import microversion
from tests import conformance
from tests.fuzz.conftest import FACTOR, Service

NEWEST = microversion.BLOCK_STORAGE.maximum.minor
CHECKS = [checks.not_a_server_error, checks.status_code_conformance]
# Where bodies and replies change.
MINORS = (0, 12, 27, 52, 62)
ABSENT = ('/backups', '/group', '/consistencygroups', '/cgsnapshots', '/clusters')
# What volumes cannot be made of here, or not at random.
SOURCES = (
    'snapshot_id',
    'consistencygroup_id',
    'group_id',
    'backup_id',
    'imageRef',
    'image_id',
    'availability_zone',
    'multiattach',
)
CONNECTOR = {'host': 'fuzz', 'initiator': 'iqn.1994-05.com.example:fuzz', 'ip': '192.0.2.1'}


def settings(examples: int, **more: Any) -> hypothesis.settings:
    """The same examples in each run."""
    return hypothesis.settings(
        max_examples=max(int(examples * FACTOR), 1),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        **more,
    )


def load(minor: int) -> Any:
    return schemathesis.openapi.from_dict(conformance.describe(minor))


def revive(value: Any, known: dict[str, Any]) -> Any:
    """Put names of what exists into a body."""
    if not isinstance(value, dict):
        return value
    return {key: known.get(key, revive(inner, known)) for key, inner in value.items()}


def run(service: Service, case: Any, minor: int, revived: bool) -> None:
    service.replenish()
    if revived:
        known = service.known()
        case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        case.body = revive(
            case.body,
            {
                'volume_uuid': service.volume_id,
                'volume_type': service.type_id,
                'new_type': service.type_id,
                'connector': CONNECTOR,
                'binary': 'cinder-volume',
                'snapshot_id': service.snapshot_id,
                'attachment_id': service.attachment_id,
            },
        )
    case.headers = {**(case.headers or {}), microversion.HEADER: f'volume 3.{minor}'}
    response = case.call(app=service.application, base_url='http://localhost/v3')
    case.validate_response(response, checks=CHECKS)


def operations() -> list[Any]:
    """Those of nouns that are not there have nothing to find; the mixed test has some of them."""
    found = [operation.ok() for operation in load(NEWEST).get_all_operations()]
    return [operation for operation in found if not operation.path.startswith(ABSENT)]


@pytest.mark.parametrize('operation', operations(), ids=lambda operation: operation.label)
def test_each_operation(service: Service, operation: Any) -> None:
    @settings(10 if operation.body else 5)
    @hypothesis.given(data=st.data(), positive=st.booleans(), revived=st.booleans())
    def check(data: st.DataObject, positive: bool, revived: bool) -> None:
        run(service, data.draw(strategies[positive]), NEWEST, revived)

    strategies = {
        True: operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        False: operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    }
    check()


@pytest.mark.parametrize('minor', MINORS)
def test_other_microversions(service: Service, minor: int) -> None:
    @settings(60)
    @hypothesis.given(case=load(minor).as_strategy(), revived=st.booleans())
    def check(case: Any, revived: bool) -> None:
        run(service, case, minor, revived)

    check()


def test_what_was_made_is_used(service: Service) -> None:
    """Follows the links of the description: type, volume, attachment, and what takes their ids."""
    schema = load(NEWEST)
    schema.app = service.application

    class Machine(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            service.replenish()

        def before_call(self, case: Any) -> None:
            case.headers = {**(case.headers or {}), microversion.HEADER: f'volume 3.{NEWEST}'}
            case.body = revive(case.body, {'volume_type': service.type_id, 'connector': CONNECTOR})
            if isinstance(case.body, dict) and isinstance(case.body.get('volume'), dict) and case.method == 'POST':
                for source in SOURCES:
                    case.body['volume'].pop(source, None)

        def validate_response(self, response: Any, case: Any, **_more: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    before = service.application.checked
    # The service remembers former walks, so Hypothesis cannot replay one; mismatches are counted.
    with contextlib.suppress(hypothesis.errors.FlakyStrategyDefinition):
        Machine.run(settings=settings(10, stateful_step_count=8))
    assert service.application.mismatches == 0
    assert service.application.checked - before > 10
