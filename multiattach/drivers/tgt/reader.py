# SPDX-License-Identifier: Apache-2.0
"""What tgtd has, read again and again: only what has changed since the last time is parsed."""

import os
import re
from pathlib import Path

from multiattach.drivers.target import LunState, SessionState, TargetState
from multiattach.drivers.tgt.daemon import TgtDaemon
from multiattach.drivers.tgt.parse import ShownTarget

_FILE = re.compile(r"volume-([0-9a-f-]{36})")


class ExportReader:
    """Reads the targets of one driver. Safe for several threads.

    :param daemon: the tgtd.
    :param iqn_prefix: what stands before ``volume-UUID`` in target names.
    :param volumes_dir: where the files for ``tgt-admin -e`` are, None for no files.
    """

    def __init__(self, daemon: TgtDaemon, iqn_prefix: str, volumes_dir: Path | None) -> None:
        self._daemon = daemon
        self._volumes_dir = volumes_dir
        self._pattern = re.compile(re.escape(f"{iqn_prefix}volume-") + r"([0-9a-f-]{36})")
        # What was read last, by target name: the text, and what it says.
        self._known: dict[str, tuple[str, TargetState]] = {}

    def list_exports(self) -> dict[str, TargetState]:
        """See :meth:`multiattach.drivers.target.Target.list_exports`."""
        listing = self._daemon.show_targets()
        known, read = self._known, {}
        for iqn, text in listing.texts().items():
            match = self._pattern.fullmatch(iqn)
            if match is None:
                continue
            before = known.get(iqn)
            if before is not None and before[0] == text:
                read[iqn] = before
                continue
            target = listing.find(iqn)
            assert target is not None
            read[iqn] = text, _state(match[1], target)
        self._known = read
        return {state.volume_id: state for _, state in read.values()}

    def list_files(self) -> frozenset[str] | None:
        """See :meth:`multiattach.drivers.target.Target.list_files`."""
        if self._volumes_dir is None:
            return None
        try:
            names = os.listdir(self._volumes_dir)
        except FileNotFoundError:
            names = []
        return frozenset(match[1] for name in names if (match := _FILE.fullmatch(name)))


def _state(volume_id: str, target: ShownTarget) -> TargetState:
    return TargetState(
        volume_id=volume_id,
        iqn=target.iqn,
        tid=target.tid,
        luns=tuple(
            LunState(lun.number, lun.path, lun.online, lun.scsi_id)
            for lun in target.luns.values()
            if lun.number
        ),
        initiators=tuple(target.initiators),
        accounts=tuple(target.accounts),
        sessions=tuple(
            SessionState(nexus.initiator, next((c.address for c in nexus.connections), ""))
            for nexus in target.nexuses
        ),
    )
