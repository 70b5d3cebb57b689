# SPDX-License-Identifier: Apache-2.0
"""What initiators have registered, kept with the volume for the next life of the kernel."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from oslo_log import log

from multiattach.drivers.errors import DriverError, TargetError, TargetUnavailable
from multiattach.drivers.targets.base import Reservations
from multiattach.drivers.targets.lio import identity, registrations
from multiattach.drivers.targets.lio.backstore import Backstores
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.registrations import Nexus, Shown, TornState
from multiattach.drivers.targets.lio.state_file import StateFile

LOG = log.getLogger(__name__)
R = TypeVar('R')
_TRIES, _PAUSE = 10, 0.01
_GLANCE = 1.0  # s


class RegistrationsLost(TargetError):
    """A file of registrations is not whole: who is to be kept off is not known."""


class Memory:
    """Files of registrations, and the registrations in force.

    :param folder: for those of volumes that are no files; those of a file are beside it.
    :param is_in_force: whether what the kernel shows of a volume is all that is registered: of a target that was not
        made, or removed, to the end the file alone knows it.
    """

    def __init__(
        self, configfs: Configfs, stores: Backstores, folder: Path, is_in_force: Callable[[str], bool]
    ) -> None:
        self._configfs = configfs
        self._stores = stores
        self._folder = folder
        self._is_in_force = is_in_force
        #: each tells which device a volume has, or would have, at one backend
        self.devices: list[Callable[[str], str]] = []

    def _links(self) -> Path:
        """Find the folder into which the kernel writes."""
        return Path(self._configfs.read(self._configfs.root / 'dbroot') or '/var/target') / 'pr'

    def _work(self, volume_id: str, verb: str, act: Callable[[StateFile], R], device: str = '') -> R:
        """Do something with the file of a volume, and wait for its disk no longer than for the kernel.

        :raises OSError: the disk refused.
        :raises TargetUnavailable: the disk does not answer.
        """
        link, shown = self._links() / f'aptpl_{identity.make_serial(volume_id)}', device or self.find_shown(volume_id)
        # What hangs keeps others from its own disk only.
        place = Path(shown).with_name(link.name) if shown.startswith('/') else link

        def find_and_act(is_late: Callable[[], bool]) -> R:
            name, known = f'reservations-{volume_id}', shown or self._find_device(volume_id)
            beside = Path(known).parent / name if known and Path(known).is_file() else None
            return act(StateFile(link, beside, self._folder / name, is_late))

        return self._configfs.keep(verb, place, find_and_act)

    def find_shown(self, volume_id: str) -> str:
        """Find the device that the kernel has of a volume, without a look at any disk; "" if it has none."""
        place = self._stores.find(volume_id)
        return '' if place is None else self._stores.read_device(place)

    def _find_device(self, volume_id: str) -> str:
        """Find the file of a volume that another machine may have had last: there is no link to what is beside it."""
        found = (find(volume_id) for find in self.devices)
        return next((device for device in found if Path(device).is_file()), '')

    def check(self) -> None:
        try:
            for folder in (self._links(), self._folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise TargetUnavailable(
                f'the kernel cannot keep reservations at {exc.filename}: {exc.strerror}', delivered=False
            ) from exc

    # The file ---------------------------------------------------------------------------

    def read(self, volume_id: str, device: str = '') -> list[Nexus]:
        """Read what is to be registered when the target is made anew.

        :param device: of a volume that this machine may not have had before.
        :raises RegistrationsLost: the file is not whole.
        :raises TargetError: it cannot be read.
        """
        try:
            return self._work(volume_id, 'read', StateFile.read, device)
        except (TornState, OSError) as exc:
            kind = RegistrationsLost if isinstance(exc, TornState) else TargetError
            raise kind(
                f'the registrations of volume {volume_id} cannot be read ({exc}): as long as nobody has cleared its '
                'reservations, nobody is let in'
            ) from exc

    def prepare(self, volume_id: str, device: str, nexuses: Iterable[Nexus]) -> None:
        """Write the file beside the device, and have the kernel do so from now on."""
        text = registrations.write_state(nexuses)
        with _expect(volume_id):
            self._work(volume_id, 'write', lambda file: file.prepare(text), device)

    def remove(self, volume_id: str, device: str = '') -> None:
        with _expect(volume_id):
            self._work(volume_id, 'remove', StateFile.remove, device)

    def replace(self, volume_id: str, nexuses: Iterable[Nexus]) -> None:
        """Write a file that is there anew; the kernel has no target that writes it."""
        text = registrations.write_state(nexuses)
        with _expect(volume_id):
            self._work(volume_id, 'write', lambda file: file.replace(text))

    def forget(self, volume_id: str, iqn: str, initiator: str) -> bool:
        """Have an initiator in the file no more, which has none in force.

        The kernel does not write it when an entry goes, and may write it meanwhile for another initiator.

        :returns: whether it is so; not if others register again and again.
        """
        for _ in range(_TRIES):
            before = self._look(volume_id)
            if before is None:
                try:
                    found = registrations.without(self.read(volume_id), [initiator])
                except RegistrationsLost:
                    return True  # none that it may have comes back: the file is only ever cleared
            else:
                found = self._find_in_force(volume_id, iqn, before, partly=True)
            self.replace(volume_id, found)
            if self._look(volume_id) == before:
                return True
        return False

    # In force ---------------------------------------------------------------------------

    def load(self, place: Path, nexuses: Sequence[Nexus]) -> None:
        """Give a storage object its registrations, before a logical unit has it."""
        for nexus in nexuses:
            self._configfs.write(place / 'pr' / 'res_aptpl_metadata', nexus.tell())

    def read_in_force(self, volume_id: str, iqn: str) -> list[Nexus]:
        """Read who is registered now at a logical unit that was made to the end; where the kernel has more, a part.

        Whoever was not read has to register anew when the target is made with it, and does not write until then.
        """
        shown = self._look(volume_id)
        return self.read(volume_id) if shown is None else self._find_in_force(volume_id, iqn, shown, partly=True)

    def _find_in_force(self, volume_id: str, iqn: str, shown: Shown, *, partly: bool) -> list[Nexus]:
        """Find what is in force.

        :param partly: what is shown is enough; else one that registers often could keep its own fence from its end.
        """
        if shown.is_whole or (partly and not self._is_kept(volume_id)):
            return registrations.describe(shown, iqn)
        if not self._is_kept(volume_id):
            raise TargetError(
                f'the kernel shows {len(shown.isids)} registrations of volume {volume_id}, whose target Cinder made, '
                'and has more: it writes none of them down'
            )
        # Only the file has them all, and the kernel may be at it.
        names = self._list_entries(iqn)
        return [nexus for nexus in self._read_patiently(volume_id) if nexus.initiator in names]

    def _is_kept(self, volume_id: str) -> bool:
        """Whether the kernel writes the registrations of a volume down."""
        place = self._stores.find(volume_id)
        return place is None or self._stores.is_own(place)

    def _list_entries(self, iqn: str) -> set[str]:
        return set(self._configfs.list_names(self._configfs.root / 'iscsi' / iqn / 'tpgt_1' / 'acls'))

    def _read_patiently(self, volume_id: str) -> list[Nexus]:
        for _ in range(_TRIES):
            with contextlib.suppress(TornState, OSError):
                return self._work(volume_id, 'read', StateFile.read)
            time.sleep(_PAUSE)
        return self.read(volume_id)

    def list_registered(self, volume_id: str) -> list[str]:
        """List who is registered now, or would be in the target's next life, as far as that can be read.

        A worker that was killed may have left one in the file that has no entry any more.
        """
        shown = self._look(volume_id)
        found = {one.initiator for one in shown.reservations.registrations} if shown is not None else set()
        # The kernel may be at the file, and a disk that does not answer keeps nobody who only looks.
        with contextlib.suppress(DriverError), self._configfs.within(_GLANCE):
            found |= {one.initiator for one in self.read(volume_id)}
        return sorted(found)

    def read_reservations(self, volume_id: str, iqn: str, device: str = '', *, partly: bool = False) -> Reservations:
        """Read who is registered now; where there is no target, or half of one, who will be.

        :param partly: what the kernel shows is enough where it has more and writes none down.
        """
        shown = self._look(volume_id)
        if shown is None:
            return registrations.tell(0, self.read(volume_id, device))
        if shown.is_whole:
            return shown.reservations
        found = self._find_in_force(volume_id, iqn, shown, partly=partly)
        return registrations.tell(shown.reservations.generation, found)

    def _look(self, volume_id: str) -> Shown | None:
        place = self._stores.find(volume_id)
        if place is None or not self._is_in_force(volume_id):
            return None
        names = ('res_pr_registered_i_pts', 'res_holder', 'res_pr_type', 'res_pr_generation')
        return registrations.parse_shown(*(self._configfs.read(place / 'pr' / name) for name in names))


@contextlib.contextmanager
def _expect(volume_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise TargetError(f'the registrations of volume {volume_id} cannot be kept: {exc}') from exc
