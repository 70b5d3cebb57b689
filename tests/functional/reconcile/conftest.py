# SPDX-License-Identifier: Apache-2.0
"""A control plane over a real tgtd, or in a storage machine its kernel, and hands that meddle behind its back."""

import contextlib
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.findings import DriftRules, Finding
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from tests.deployments import embedded
from tests.deployments.targets import IS_KERNEL
from tests.functional.drivers.targets.tgt.conftest import free_portal
from tests.functional.drivers.targets.tgt.initiator import Session
from tests.functional.reconcile.hands import Hands, KernelHands, TgtHands
from tests.testbed.polling import wait_until


class Bench:
    """The deployment, and what tests do with it."""

    def __init__(self, deployed: embedded.Deployment, hands: Hands) -> None:
        self.deployed = deployed
        self.hands = hands
        with contextlib.suppress(errors.Conflict):  # on a database that was there
            deployed.make_type()

    def attach(self, volume_id: str, host: str = 'one', server: str | None = None) -> models.Attachment:
        """As a client does."""
        attachments, ctx = self.deployed.engine.attachments, self.deployed.ctx
        row = attachments.create(
            ctx,
            volume_id,
            server or str(uuid.uuid4()),
            {'host': host, 'initiator': f'iqn.1994-05.com.example:{host}'},
            None,
        )
        attachments.complete(ctx, row.id)
        return row

    def reserve(self, volume_id: str, server: str | None = None) -> str:
        return self.deployed.engine.attachments.create(self.deployed.ctx, volume_id, server, None, None).id

    def login(self, row: models.Attachment) -> Session:
        info = row.connection_info
        return Session(
            info['target_portal'], info['target_iqn'], str(row.initiator), info['auth_username'], info['auth_password']
        )

    @property
    def tgtd(self) -> PrivateTgtd:
        assert isinstance(self.hands, TgtHands)
        return self.hands.tgtd

    def look(self, fix: bool | None = False, release: tuple[str, ...] = ()) -> list[Finding]:
        if not IS_KERNEL:
            return self.deployed.reconciler.run(fix=fix, release=release)

        def look() -> tuple[list[Finding]] | None:  # on an emulated processor one that began by itself takes its time
            with contextlib.suppress(errors.Unavailable):
                return (self.deployed.reconciler.run(fix=fix, release=release),)
            return None

        found = wait_until(look, 120, 'the end of a look')
        assert found is not None
        return found[0]

    def look_twice(self) -> list[Finding]:
        """Two rounds: nothing is taken away in the first one that sees it."""
        assert 'repaired' not in {one.outcome for one in self.look(fix=None)}
        return self.look(fix=None)

    def kinds(self, fix: bool | None = False) -> list[str]:
        return sorted({one.kind for one in self.look(fix)})

    def write(self, table: type[models.Base], ident: str, **values: Any) -> None:
        """Meddle with the database, as a person with SQL does."""
        with self.deployed.db.writer() as session:
            session.execute(sa.update(table).where(table.id == ident).values(**values))  # type: ignore[attr-defined]

    def exists(self, attachment_id: str) -> bool:
        with self.deployed.db.reader() as session:
            return (
                session.scalar(
                    sa.select(models.Attachment.id).where(
                        models.Attachment.id == attachment_id, models.Attachment.deleted_at.is_(None)
                    )
                )
                is not None
            )


@pytest.fixture(scope='module')
def tgtd() -> Iterator[PrivateTgtd]:
    daemon = PrivateTgtd(portal=free_portal(), threads=1)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def hands(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Hands:
    if IS_KERNEL:
        return KernelHands(tmp_path / 'volumes')
    return TgtHands(request.getfixturevalue('tgtd'), tmp_path / 'targets')


@pytest.fixture
def make_bench(hands: Hands, tmp_path: pathlib.Path) -> Iterator[Callable[..., Bench]]:
    stack = []

    def make(**options: Any) -> Bench:
        target = options.pop('target', None) or hands.make_target()
        options.setdefault('rules', DriftRules())
        running = embedded.deploy(tmp_path, target, report_interval=3600, **options)
        bench = Bench(running.__enter__(), hands)
        stack.append((running, target))
        return bench

    yield make
    for running, target in stack:
        running.__exit__(None, None, None)
        for volume_id in target.list_exports():
            target.remove_export(volume_id)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
