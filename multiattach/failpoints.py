# SPDX-License-Identifier: Apache-2.0
"""Places between two steps where a process can be made to die, to fail or to wait, for tests of crashes.

Without ``MULTIATTACH_FAILPOINTS`` in the environment a place is a call of an empty function. With it the
variable is a list, separated by commas, of ``NAME=ACTION``:

* NAME is a key of :data:`POINTS`, or a glob (``volume.*``);
* ACTION is ``kill`` (SIGKILL to this process), ``exit`` (an end without clean-up), ``error`` (RuntimeError)
  or ``sleep:SECONDS``;
* ``@N`` behind it: only the N-th time in this process; ``%P`` behind it: with probability P (0 to 1), from
  the seed ``MULTIATTACH_FAILPOINTS_SEED``.

The first rule that takes effect at a place counts.
"""

import dataclasses
import fnmatch
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable

from multiattach.domain import errors

VARIABLE = 'MULTIATTACH_FAILPOINTS'
SEED_VARIABLE = 'MULTIATTACH_FAILPOINTS_SEED'

# What has been done at a place, and what has not. PART is who is there: the engine (in the API or in a host
# agent), its orders to volume workers, a volume worker, or a host agent.
POINTS: dict[str, str] = {
    'engine.create.reserved': 'The reservation is committed; the caller has no answer, no connector is used.',
    'engine.complete.written': 'The attachment is attached; the caller has no answer.',
    'engine.delete.removed': 'The row is gone as no target was involved; the caller has no answer.',
    'engine.volume_create.unplaced': 'The volume is creating; no backend is chosen.',
    'engine.volume_create.written': 'The volume is creating; its worker is not told.',
    'engine.volume_delete.written': 'The volume is deleting; its worker is not told.',
    'engine.volume_extend.written': 'The volume is extending; its worker is not told.',
    'engine.volume_revert.written': 'The volume is reverting; its worker is not told.',
    'engine.snapshot_create.written': 'The snapshot is creating; its worker is not told.',
    'engine.snapshot_delete.written': 'The snapshot is deleting; its worker is not told.',
    'engine.snapshot_manage.written': 'The snapshot is creating, of storage that is there; its worker is not told.',
    'engine.volume_migrate.written': 'The migration is starting; the worker of the destination is not told.',
    'engine.volume_manage.written': 'The volume is managing; its worker is not told.',
    'engine.volume_unmanage.written': 'The volume is unmanaging; its worker is not told.',
    'engine.transfer.offered': 'The volume is awaiting its transfer; the caller has no key.',
    'engine.transfer.accepted': "The volume is the other project's; the caller has no answer.",
    'engine.upload.written': 'The volume is uploading; there is no image.',
    'engine.upload.made': 'There is an image without data; the worker is not told.',
    'engine.reimage.written': 'The volume is downloading; its worker is not told.',
    'engine.fence.written': 'The attachment is fencing; its worker is not told.',
    'engine.fence.answered': 'The worker gave its proof; the caller has no answer.',
    'engine.server_attach.written': "A server's attachment is reserved; its agent is not told.",
    'engine.server_detach.written': "A server's attachment is detaching; its agent is not told.",
    'orders.export.written': 'The attachment is exporting; its worker is not told.',
    'orders.export.answered': 'The worker has answered; who ordered it has not.',
    'orders.unexport.written': 'The attachment is unexporting; its worker is not told.',
    'orders.unexport.answered': 'The worker has answered; who ordered it has not.',
    'orders.wait.begun': 'No answer came; the row is not looked at yet.',
    'volume.export.planned': 'The row is read; the target is untouched.',
    'volume.export.granted': 'The target admits the initiator; connection_info is not stored.',
    'volume.export.finished': 'connection_info is stored; there is no answer.',
    'volume.export.refused': 'The target refused; what it did is not undone.',
    'volume.export.undone': 'What a refused export did is undone; that it failed is not written.',
    'volume.unexport.planned': 'The row is read; the target is untouched.',
    'volume.unexport.turned_away': 'The target admits the initiator no more; the row is there.',
    'volume.unexport.finished': 'The row is gone; there is no answer.',
    'volume.restore.planned': 'The rows are read; the target is not what they say.',
    'volume.restore.exported': 'The volume is exported again; others are not.',
    'volume.fence.planned': 'The row is read; the initiator is not cut off.',
    'volume.fence.begun': 'The initiator has no leave any more; that it is cut off is not seen yet.',
    'volume.fence.cut': 'The initiator is cut off; the proof is not written.',
    'volume.fence.finished': 'The proof is written; there is no answer.',
    'volume.create.planned': 'The row is read; there is no storage.',
    'volume.create.made': 'The storage is there; the volume is creating.',
    'volume.create.finished': 'The volume is available; nothing is left to do.',
    'volume.copy.planned': 'The row is read; nothing is copied.',
    'volume.copy.running': 'The copy is not complete.',
    'volume.copy.copied': 'The copy is complete; the volume is creating.',
    'volume.copy.finished': 'The clone is available; nothing is left to do.',
    'volume.image.planned': 'The row is read; nothing is copied between volume and image.',
    'volume.image.running': 'Something is copied, and not all of it.',
    'volume.image.fetched': 'The image is here, and is what it should be; the volume is as it was.',
    'volume.image.filled': 'All is written, and does not have the name of the volume yet.',
    'volume.image.adopted': 'The volume has the contents of the image; it is downloading.',
    'volume.image.made': 'The contents of the volume are in the form of the image; the Image service has nothing.',
    'volume.image.sent': 'The Image service has the image; the volume is uploading.',
    'volume.image.finished': 'The volume is what it was, or available; Nova, if it waits, is not told.',
    'volume.delete.planned': 'The row is read; target and storage are there.',
    'volume.delete.unexported': 'The target is gone; the storage is there.',
    'volume.delete.discarded': 'The storage is trash and has lost its name; the volume is deleting.',
    'volume.delete.deleted': 'The storage is gone; the volume is deleting.',
    'volume.delete.finished': 'The volume is deleted; nothing is left to do.',
    'volume.extend.planned': 'The row is read; the storage is as it was.',
    'volume.extend.grown': 'The storage has grown; the target does not show it.',
    'volume.extend.shown': 'The target shows the new size; the volume is extending.',
    'volume.extend.finished': 'The new size is written; nobody is told.',
    'volume.revert.planned': 'The row is read; the storage is as it was.',
    'volume.revert.unexported': 'The volume has no target; the storage is as it was.',
    'volume.revert.copied': 'The storage is what the snapshot is; the volume is reverting.',
    'volume.revert.finished': 'The volume is available again; nothing is left to do.',
    'volume.snapshot.planned': 'The row is read; there is no snapshot.',
    'volume.snapshot.running': 'A snapshot is copied, or its volume reverted to it; the copy is not complete.',
    'volume.snapshot.taken': 'The storage has the snapshot; it is creating.',
    'volume.snapshot.finished': 'The snapshot is available; nothing is left to do.',
    'volume.snapshot_manage.planned': 'The row is read; the storage has its old name.',
    'volume.snapshot_manage.renamed': 'The storage has the name of the snapshot, which is creating.',
    'volume.snapshot_manage.finished': 'The snapshot is available; nothing is left to do.',
    'volume.snapshot_delete.planned': 'The row is read; the snapshot is there.',
    'volume.snapshot_delete.deleted': 'The storage has no snapshot any more; it is deleting.',
    'volume.snapshot_delete.finished': 'The snapshot is deleted; nothing is left to do.',
    'volume.migrate.planned': 'The row is read; nothing is copied.',
    'volume.migrate.running': 'The copy to another backend is not complete.',
    'volume.migrate.proven': 'The copy was read back; no row says so.',
    'volume.migrate.adopted': 'The copy has the name of the volume, which is on its source.',
    'volume.migrate.switched': 'The volume is on its destination; the worker of its source is not told.',
    'volume.migrate.clear': 'The row is read; the storage is at both backends.',
    'volume.migrate.undo': 'A migration is broken off; its copy is there.',
    'volume.migrate.finished': 'Nothing is left to do.',
    'volume.manage.planned': 'The row is read; the storage has its old name.',
    'volume.manage.renamed': 'The storage has the name of the volume, which is managing.',
    'volume.manage.finished': 'The volume is available; nothing is left to do.',
    'volume.unmanage.planned': 'The row is read; the volume is unmanaging.',
    'volume.unmanage.finished': 'The volume is deleted, its storage is there; nothing is left to do.',
    'host.attach.begun': 'The row is read; the target may not admit this host.',
    'host.attach.exported': 'The target admits this host; the intent to connect is not written.',
    'host.attach.connecting': 'The intent is written; the host is untouched.',
    'host.attach.connected': 'The host reaches the device; the server does not have it.',
    'host.attach.plugged': 'The server has the disk; the row does not say so.',
    'host.attach.finished': 'The attachment is attached; nothing is left to do.',
    'host.undo.begun': 'An attach failed on the host; nothing is undone.',
    'host.undo.unplugged': 'The server does not have the disk; the host may be logged in.',
    'host.detach.begun': 'The row is read; the server has the disk.',
    'host.detach.unplugged': 'The server does not have the disk; the host may be logged in.',
    'host.detach.finished': 'The row is gone; nothing is left to do.',
    'host.session.logged_in': 'The host is logged in; the device is not checked.',
    'host.session.logged_out': 'The host is logged out if nobody needs the session; no row says so.',
    'host.sweep.begun': 'The row of a fenced attachment is read; its disk and device are there.',
    'host.sweep.unplugged': 'The server does not have the disk of a fenced attachment; the device is there.',
    'host.sweep.finished': 'The host has let go of a fenced attachment; nothing is left to do.',
}

_ACTION = re.compile(r'(kill|exit|error|sleep:(\d+(?:\.\d+)?))(?:@([1-9]\d*)|%(\d*\.?\d+))?')
_SYNTAX = 'kill, exit, error or sleep:SECONDS, with @N or %P behind it'


@dataclasses.dataclass
class _Rule:
    names: frozenset[str]
    action: str
    seconds: float
    number: int | None
    probability: float | None
    reached: int = 0


def _parse(text: str) -> list[_Rule]:
    return [_parse_rule(part.strip()) for part in text.split(',') if part.strip()]


def _parse_rule(part: str) -> _Rule:
    pattern, _, action = part.partition('=')
    names = frozenset(fnmatch.filter(POINTS, pattern))
    if not names:
        raise errors.ConfigurationError(
            f'Environment variable {VARIABLE}: no failpoint is named {pattern!r}; they are {", ".join(POINTS)}.'
        )
    found = _ACTION.fullmatch(action)
    probability = float(found[4]) if found and found[4] else None
    if found is None or (probability is not None and probability > 1):
        raise errors.ConfigurationError(
            f'Environment variable {VARIABLE}: {pattern} cannot be followed by {action!r}, but by {_SYNTAX}.'
        )
    return _Rule(
        names, found[1].partition(':')[0], float(found[2] or 0), int(found[3]) if found[3] else None, probability
    )


class Failpoints:
    """What is to happen where.

    :param seed: what chances are drawn from; None for the system's.
    :raises ConfigurationError: the message names what is wrong.
    """

    def __init__(self, text: str, seed: str | None = None) -> None:
        self._rules = _parse(text)
        self._random = random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        rule = self._find(name)
        if rule is not None:
            _ACTIONS[rule.action](name, rule.seconds)

    def _find(self, name: str) -> _Rule | None:
        with self._lock:
            chosen = None
            for rule in self._rules:  # each one counts, whichever takes effect
                if name not in rule.names:
                    continue
                rule.reached += 1
                if chosen is None and self._takes_effect(rule):
                    chosen = rule
            return chosen

    def _takes_effect(self, rule: _Rule) -> bool:
        if rule.number is not None:
            return rule.reached == rule.number
        return rule.probability is None or self._random.random() < rule.probability


def _tell(name: str, action: str) -> None:
    # Not by the log, which may be buffered: for some actions nothing comes after.
    sys.stderr.write(f'failpoint {name}: {action}\n')
    sys.stderr.flush()


def _kill(name: str, _seconds: float) -> None:
    _tell(name, 'kill')
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal may come a moment later: nothing more is done


def _exit(name: str, _seconds: float) -> None:
    _tell(name, 'exit')
    os._exit(1)


def _fail(name: str, _seconds: float) -> None:
    _tell(name, 'error')
    raise RuntimeError(f'failpoint {name}')


def _sleep(name: str, seconds: float) -> None:
    _tell(name, f'sleep {seconds:g} s')
    time.sleep(seconds)


_ACTIONS: dict[str, Callable[[str, float], None]] = {'kill': _kill, 'exit': _exit, 'error': _fail, 'sleep': _sleep}


def _pass(name: str) -> None: ...


def _start() -> tuple[Callable[[str], None], errors.ConfigurationError | None]:
    text = os.environ.get(VARIABLE)
    if not text:
        return _pass, None
    try:
        return Failpoints(text, os.environ.get(SEED_VARIABLE)).reach, None
    except errors.ConfigurationError as exc:
        return _pass, exc


reach, _problem = _start()


def check() -> None:
    """Refuse a start with a wrong variable; called before anything else is done."""
    if _problem is not None:
        raise _problem
    if reach is not _pass:
        _tell(os.environ[VARIABLE], 'armed')
