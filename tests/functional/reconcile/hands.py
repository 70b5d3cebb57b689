# SPDX-License-Identifier: Apache-2.0
"""Hands that meddle with a real target behind the service's back, as people and crashes do."""

import abc
import os
import pathlib
from collections.abc import Callable

from multiattach.db import models
from multiattach.domain.drift import Drift
from multiattach.drivers.targets.base import Target
from multiattach.drivers.targets.lio.configfs import ROOT
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.protocol import Mode, Op, Request
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.deployments.targets import KernelTarget

STRANGER = 'iqn.1994-05.com.example:stranger'
PREFIX = 'iqn.2010-10.org.openstack:volume-'
Act = Callable[[str, models.Attachment], None]


class Hands(abc.ABC):
    """:ivar acts: what makes a kind of drift, given a volume and one of its attachments.
    :ivar alongside: kinds that are seen with it.
    """

    def __init__(self) -> None:
        self.alongside: dict[Drift, set[Drift]] = {}
        self.acts: dict[Drift, Act] = {
            Drift.NO_TARGET: lambda volume, _row: self.remove_target(volume),
            Drift.NO_LUN: lambda volume, _row: self.remove_unit(volume),
            Drift.SHUT_OUT: lambda volume, row: self.shut_out(volume, str(row.initiator)),
            Drift.SHUT: lambda volume, _row: self.shut(volume),
            Drift.ADMITTED: lambda volume, _row: self.admit(volume, STRANGER),
            Drift.NO_ACCOUNT: lambda volume, row: self.unbind_account(volume, row),
            Drift.ACCOUNT: lambda volume, row: self.bind_account(volume, row),
        }

    @property
    @abc.abstractmethod
    def portal(self) -> str:
        """Where it listens."""

    @abc.abstractmethod
    def make_target(self) -> Target:
        """Make the driver, as a worker does."""

    @abc.abstractmethod
    def remove_target(self, volume: str) -> None: ...

    @abc.abstractmethod
    def remove_unit(self, volume: str) -> None: ...

    @abc.abstractmethod
    def shut_out(self, volume: str, initiator: str) -> None: ...

    @abc.abstractmethod
    def shut(self, volume: str) -> None:
        """As a worker that died in the middle of a fence leaves it."""

    @abc.abstractmethod
    def admit(self, volume: str, initiator: str) -> None: ...

    @abc.abstractmethod
    def unbind_account(self, volume: str, row: models.Attachment) -> None: ...

    @abc.abstractmethod
    def bind_account(self, volume: str, row: models.Attachment) -> None:
        """Let in somebody else's account."""

    @abc.abstractmethod
    def make_strange(self, iqn: str) -> None:
        """Make a target that is not the service's."""

    @abc.abstractmethod
    def remove_strange(self, iqn: str) -> bool:
        """Remove it; tell whether it was still there."""

    def has_file(self, volume: str) -> bool:
        return False


class TgtHands(Hands):
    """:param folder: of the targets' files."""

    def __init__(self, tgtd: PrivateTgtd, folder: pathlib.Path) -> None:
        super().__init__()
        self.tgtd = tgtd
        self.daemon = tgtd.daemon
        self.folder = folder
        self.acts[Drift.NO_FILE] = lambda volume, _row: self.remove_file(volume)
        self._strange: dict[str, int] = {}

    @property
    def portal(self) -> str:
        return self.tgtd.portal

    def make_target(self) -> Target:
        return TgtTarget(self.daemon, portal=self.portal, volumes_dir=self.folder)

    def tid(self, volume: str) -> int:
        target = self.daemon.show_targets().find(f'{PREFIX}{volume}')
        assert target is not None
        return target.tid

    def remove_target(self, volume: str) -> None:
        self.daemon.delete_target(self.tid(volume), force=True)

    def remove_unit(self, volume: str) -> None:
        self.daemon.call(Request('delete a unit', Mode.DEVICE, Op.DELETE, tid=self.tid(volume), lun=1))

    def shut_out(self, volume: str, initiator: str) -> None:
        self.daemon.unbind_initiator(self.tid(volume), initiator)

    def shut(self, volume: str) -> None:
        self.daemon.set_open(self.tid(volume), False)

    def admit(self, volume: str, initiator: str) -> None:
        self.daemon.bind_initiator(self.tid(volume), initiator)

    def unbind_account(self, volume: str, row: models.Attachment) -> None:
        self.daemon.unbind_account(self.tid(volume), row.connection_info['auth_username'])

    def bind_account(self, volume: str, row: models.Attachment) -> None:
        self.daemon.new_account('stranger', 'secret0123456789')
        self.daemon.bind_account(self.tid(volume), 'stranger')

    def make_strange(self, iqn: str) -> None:
        self._strange[iqn] = 999 - len(self._strange)
        self.daemon.new_target(self._strange[iqn], iqn)

    def remove_strange(self, iqn: str) -> bool:
        found = self.daemon.show_targets().find(iqn) is not None
        self.daemon.delete_target(self._strange[iqn], force=True)
        return found

    def remove_file(self, volume: str) -> None:
        (self.folder / f'volume-{volume}').unlink()

    def has_file(self, volume: str) -> bool:
        return (self.folder / f'volume-{volume}').exists()


class KernelHands(Hands):
    """An initiator and its account are one entry of the kernel's.

    :param volumes: folder of the volumes' files.
    """

    def __init__(self, volumes: pathlib.Path) -> None:
        super().__init__()
        self._volumes = volumes
        self._target = KernelTarget()
        self.alongside = {Drift.SHUT_OUT: {Drift.NO_ACCOUNT}, Drift.ACCOUNT: {Drift.NO_ACCOUNT}}
        self.acts[Drift.STRAY_REGISTRATION] = lambda volume, _row: self.register(volume)

    @property
    def portal(self) -> str:
        return self._target._portal

    def make_target(self) -> Target:
        return self._target

    def _group(self, volume: str) -> pathlib.Path:
        return ROOT / 'iscsi' / f'{PREFIX}{volume}' / 'tpgt_1'

    def remove_target(self, volume: str) -> None:
        self._target._remove(self._target._group(volume), volume)

    def remove_unit(self, volume: str) -> None:
        [link] = (one for one in (self._group(volume) / 'lun' / 'lun_1').iterdir() if one.is_symlink())
        os.unlink(link)

    def shut_out(self, volume: str, initiator: str) -> None:
        self._target._group(volume).shut_out(initiator)

    def shut(self, volume: str) -> None:
        (self._group(volume) / 'enable').write_text('0')

    def admit(self, volume: str, initiator: str) -> None:
        (self._group(volume) / 'acls' / initiator).mkdir()

    def _set_account(self, volume: str, row: models.Attachment, name: str) -> None:
        (self._group(volume) / 'acls' / str(row.initiator) / 'auth' / 'userid').write_text(name)

    def unbind_account(self, volume: str, row: models.Attachment) -> None:
        self._set_account(volume, row, 'NULL')

    def bind_account(self, volume: str, row: models.Attachment) -> None:
        self._set_account(volume, row, 'stranger')

    def make_strange(self, iqn: str) -> None:
        (ROOT / 'iscsi' / iqn).mkdir()

    def remove_strange(self, iqn: str) -> bool:
        (ROOT / 'iscsi' / iqn).rmdir()
        return True

    def register(self, volume: str) -> None:
        """As a worker leaves it that was killed between the entry and the file."""
        text = (
            f'PR_REG_START: 0\ninitiator_fabric=iSCSI\ninitiator_node={STRANGER}\nsa_res_key=43969\nres_holder=0\n'
            'res_all_tg_pt=0\nmapped_lun=1\ntarget_fabric=iSCSI\n'
            f'target_node={PREFIX}{volume}\ntpgt=1\nport_rtpi=1\ntarget_lun=1\nPR_REG_END: 0\n'
        )
        (self._volumes / f'reservations-{volume}').write_text(text)
