# SPDX-License-Identifier: Apache-2.0
"""Registrations of initiators that no attachment names; the target only remembers. For a real one see drivers/lio."""

import dataclasses
import pathlib
import uuid
from collections.abc import Iterator

import pytest

from multiattach.db import models
from multiattach.domain.drift import Drift
from multiattach.domain.findings import Finding
from multiattach.drivers.targets.base import Export, TargetInfo, TargetState
from multiattach.drivers.targets.null import NullTarget
from tests.deployments import embedded

STRANGER = 'iqn.1994-05.com.example:stranger'


class RegisteringTarget(NullTarget):
    """Has registrations, which end as those of the kernel's target do when it is made exact, or removed."""

    def __init__(self) -> None:
        super().__init__()
        self.registered: dict[str, set[str]] = {}

    def ensure_export(self, export: Export) -> TargetInfo:
        self.registered.get(export.volume_id, set()).intersection_update(one.initiator for one in export.grants)
        return super().ensure_export(export)

    def remove_export(self, volume_id: str) -> None:
        self.registered.pop(volume_id, None)
        super().remove_export(volume_id)

    def list_exports(self) -> dict[str, TargetState]:
        return {
            ident: dataclasses.replace(state, registered=tuple(sorted(self.registered.get(ident, ()))))
            for ident, state in super().list_exports().items()
        }


class Bench:
    def __init__(self, deployed: embedded.Deployment, target: RegisteringTarget) -> None:
        self.deployed = deployed
        self.target = target
        deployed.make_type()

    def attach(self, volume_id: str, host: str = 'one') -> models.Attachment:
        attachments, ctx = self.deployed.engine.attachments, self.deployed.ctx
        connector = {'host': host, 'initiator': f'iqn.1994-05.com.example:{host}'}
        row = attachments.create(ctx, volume_id, str(uuid.uuid4()), connector, None)
        attachments.complete(ctx, row.id)
        return row

    def look(self, fix: bool | None = None) -> list[Finding]:
        return self.deployed.reconciler.run(fix=fix)


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Iterator[Bench]:
    target = RegisteringTarget()
    with embedded.deploy(tmp_path, target, report_interval=3600) as deployed:
        yield Bench(deployed, target)


def test_one_that_no_attachment_names_is_seen_explained_and_ended(bench: Bench) -> None:
    volume = bench.deployed.make_volume('multi')
    row = bench.attach(volume)
    # The kernel tells of names in small letters.
    bench.target.registered[volume] = {str(row.initiator), str(bench.attach(volume, 'Two').initiator).lower()}
    assert bench.look() == []
    bench.target.registered[volume].add(STRANGER)
    found = bench.deployed.engine.explanations.explain_volume(bench.deployed.ctx, volume, live=True)
    assert found.truth is not None
    assert [(one.kind, one.about) for one in found.truth.findings] == [(Drift.STRAY_REGISTRATION, STRANGER)]
    [seen] = bench.look(fix=False)
    assert (seen.kind, seen.outcome, seen.volume_id, seen.about) == (
        Drift.STRAY_REGISTRATION,
        'found',
        volume,
        STRANGER,
    )
    assert [one.outcome for one in bench.look(fix=True)] == ['repaired']
    assert STRANGER not in bench.target.registered[volume]
    assert str(row.initiator) in bench.target.registered[volume]
    assert bench.look() == []


def test_many_at_once_wait_for_a_person(bench: Bench) -> None:
    volumes = [bench.deployed.make_volume('multi') for _ in range(11)]
    for volume in volumes:
        bench.attach(volume)
        bench.target.registered[volume] = {STRANGER}
    for fix in (None, None, True):
        assert {one.outcome for one in bench.look(fix)} == {'waiting'}
    assert all(bench.target.registered[volume] for volume in volumes)
