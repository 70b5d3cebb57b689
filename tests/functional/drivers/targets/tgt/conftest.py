# SPDX-License-Identifier: Apache-2.0
import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multiattach.domain.connection import TargetAddress
from multiattach.drivers.targets.base import Grant, Target, TargetInfo, account_name, generate_secret
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.deployments.targets import IS_KERNEL, KernelTarget
from tests.functional.drivers.stores import Store
from tests.testbed.servers import pick_port

from .initiator import Session

VOLUME_SIZE = 8 * 1024 * 1024


def free_portal() -> str:
    return f'127.0.0.1:{pick_port()}'


@dataclass
class Volume:
    """A volume and the grants for it.

    :param store: where it is; None for a file that the test makes
    """

    device: str
    portal: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    store: Store | None = None
    size: int = VOLUME_SIZE

    @classmethod
    def make(cls, store: Store, portal: str) -> 'Volume':
        """Make one in a store."""
        made = cls('', portal, store=store)
        store.make(made.id, VOLUME_SIZE)
        made.device = store.backend.path(made.id)
        return made

    def grow(self, size: int = 0) -> None:
        """Make it larger; the target does not know yet.

        :param size: bytes; as little as can be if 0
        """
        assert self.store is not None
        self.size += size or self.store.grain
        self.store.resize(self.id, self.size)

    def grant(self, number: int) -> Grant:
        initiator = f'iqn.2010-10.org.openstack.test:host-{number}'
        return Grant(initiator, account_name(self.id, initiator), generate_secret())

    def grant_all(self, target: Target, grants: list[Grant]) -> TargetInfo:
        infos = {target.grant(self.id, self.device, grant) for grant in grants}
        assert len(infos) == 1
        return infos.pop()

    def login(
        self,
        info: TargetInfo,
        grant: Grant,
        *,
        comes_back: bool = False,
        isid: int | None = None,
        lun: int = 1,
        **changes: str,
    ) -> Session:
        return Session(
            self.portal,
            info.iqn,
            changes.get('initiator', grant.initiator),
            changes.get('user', grant.username),
            changes.get('secret', grant.secret),
            comes_back=comes_back,
            alias=changes.get('alias', ''),
            isid=isid,
            lun=lun,
        )


def list_files(tgtd: PrivateTgtd) -> set[tuple[str, int, int]]:
    """List the files of a management socket, told from those that another tgtd makes in their place."""
    path = Path(tgtd.daemon.socket_path)
    found = set()
    for each in (path, Path(f'{path}.lock')):
        with contextlib.suppress(FileNotFoundError):
            shown = each.stat()
            found.add((each.name, shown.st_ino, shown.st_ctime_ns))
    return found


@pytest.fixture
def make_tgtd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], PrivateTgtd]]:
    if 'store' in request.fixturenames:  # made before, it goes after: a tgtd has it open
        request.getfixturevalue('store')
    made = []

    def make(**options: object) -> PrivateTgtd:
        tgtd = PrivateTgtd(portal=free_portal(), threads=1, **options)  # type: ignore[arg-type]
        made.append(tgtd)
        tgtd.start()
        return tgtd

    yield make
    for tgtd in made:
        before = list_files(tgtd) if tgtd.alive() else set()
        tgtd.stop()
        if before & list_files(tgtd):  # another one has taken the number, and with it the file of its lock
            assert not tgtd._is_free(tgtd.daemon.control_port)


@pytest.fixture
def tgtd(make_tgtd: Callable[[], PrivateTgtd]) -> PrivateTgtd:
    return make_tgtd()


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if IS_KERNEL:
        kernel = KernelTarget()
        yield kernel
        kernel.clear()
        return
    tgtd: PrivateTgtd = request.getfixturevalue('tgtd')
    yield TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=tmp_path / 'targets')


@pytest.fixture
def make_volume(target: Target, store: Store) -> Callable[[], Volume]:
    address = target.locate(str(uuid.UUID(int=0)))
    assert isinstance(address, TargetAddress)
    portal = address.portal
    return lambda: Volume.make(store, portal)


@pytest.fixture
def volume(make_volume: Callable[[], Volume]) -> Volume:
    return make_volume()
