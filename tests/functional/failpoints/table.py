# SPDX-License-Identifier: Apache-2.0
"""What comes of a kill -9 at each failpoint: what the tests see, and what doc/source/contributor/failpoints.rst says.

``python -m tests.functional.failpoints.table`` writes the documentation's table anew.
"""

import dataclasses
import pathlib

from multiattach import failpoints

DOC = pathlib.Path(__file__).parents[3] / 'doc' / 'source' / 'contributor' / 'failpoints.rst'
BEGIN, END = '.. failpoints: begin', '.. failpoints: end'

# Outcome → what it is for the operator.
OUTCOMES = {
    'accepted': 'The volume is ``available`` in its new project.',
    'attached': 'The attachment is ``attached``.',
    'available': 'The volume is ``available``.',
    'cut off': 'The attachment is ``fenced``, with its proof.',
    'deleted': 'The volume is gone, and its storage.',
    'error_attaching': 'The attachment is in ``error_attaching`` and says why; nothing of it is left on the host.',
    'exported': 'The attachment has its connection_info; a client that repeats its request gets it.',
    'exports': 'The targets are what the rows say.',
    'extended': 'The volume has its new size, and its servers see it.',
    'filled': 'The volume is ``available``, with the contents of the image.',
    'gone': 'The attachment is gone, and all that it had on target and host.',
    'managed': 'The volume is ``available``, and the storage has its name.',
    'migrated': 'The volume is on its new backend, with all its data; nothing is left on the old one.',
    'offered': 'The volume is ``awaiting-transfer``, with a key that nobody knows; its owner withdraws the '
    'offer and makes another one.',
    'imaged': 'The image is ``active``; the volume is what it was before.',
    'not imaged': 'There is no image, and a message says so; the volume is what it was before.',
    'reserved': 'The reservation is there; the client goes on with it or takes it back, and one that nobody '
    'goes on with is reported by its age.',
    'refused': 'The attachment is ``reserved`` again and says why; nothing of it is on the target.',
    'reverted': 'The volume is ``available`` and has what the snapshot has, which is ``available``, too.',
    'snapshot deleted': 'The snapshot is gone, and its storage; the volume is as it was.',
    'stayed': 'The volume is ``available`` where it was; nothing of the copy is left.',
    'swept': 'The attachment is ``fenced``; the server has no disk of it.',
    'snapshot managed': 'The snapshot is ``available``, and the storage has its name.',
    'taken': 'The snapshot is ``available`` and has what the volume had.',
    'unmanaged': 'The volume is gone, and its storage is there.',
    'unplaced': 'The volume is in ``error``; a message says that it is to be created anew.',
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What brings a process to a failpoint, and what comes of its death.

    :param action: name of a scenario.
    :param outcome: key of :data:`OUTCOMES`.
    """

    action: str
    outcome: str


CASES: dict[str, Case] = {
    'engine.create.reserved': Case('create', 'reserved'),
    'engine.complete.written': Case('complete', 'attached'),
    'engine.delete.removed': Case('unreserve', 'gone'),
    'engine.volume_create.unplaced': Case('make', 'unplaced'),
    'engine.volume_create.written': Case('make', 'available'),
    'engine.volume_delete.written': Case('destroy', 'deleted'),
    'engine.volume_extend.written': Case('extend', 'extended'),
    'engine.volume_revert.written': Case('revert', 'reverted'),
    'engine.snapshot_create.written': Case('snapshot', 'taken'),
    'engine.snapshot_delete.written': Case('forget', 'snapshot deleted'),
    'engine.snapshot_manage.written': Case('adopt', 'snapshot managed'),
    'engine.volume_migrate.written': Case('migrate', 'migrated'),
    'engine.volume_manage.written': Case('manage', 'managed'),
    'engine.volume_unmanage.written': Case('unmanage', 'unmanaged'),
    'engine.transfer.offered': Case('offer', 'offered'),
    'engine.transfer.accepted': Case('accept', 'accepted'),
    'engine.upload.written': Case('upload', 'not imaged'),
    'engine.upload.made': Case('upload', 'imaged'),
    'engine.reimage.written': Case('reimage', 'filled'),
    'engine.fence.written': Case('fence', 'cut off'),
    'engine.fence.answered': Case('fence', 'cut off'),
    'engine.server_attach.written': Case('plug', 'attached'),
    'engine.server_detach.written': Case('unplug', 'gone'),
    'orders.export.written': Case('connect', 'exported'),
    'orders.export.answered': Case('connect', 'exported'),
    'orders.unexport.written': Case('disconnect', 'gone'),
    'orders.unexport.answered': Case('disconnect', 'gone'),
    'orders.wait.begun': Case('unanswered', 'exported'),
    'volume.export.planned': Case('connect', 'exported'),
    'volume.export.granted': Case('connect', 'exported'),
    'volume.export.finished': Case('connect', 'exported'),
    'volume.export.refused': Case('refuse', 'refused'),
    'volume.export.undone': Case('refuse', 'refused'),
    'volume.unexport.planned': Case('disconnect', 'gone'),
    'volume.unexport.turned_away': Case('disconnect', 'gone'),
    'volume.unexport.finished': Case('disconnect', 'gone'),
    'volume.restore.planned': Case('restore', 'exports'),
    'volume.restore.exported': Case('restore', 'exports'),
    'volume.fence.planned': Case('fence', 'cut off'),
    'volume.fence.begun': Case('fence', 'cut off'),
    'volume.fence.cut': Case('fence', 'cut off'),
    'volume.fence.finished': Case('fence', 'cut off'),
    'volume.create.planned': Case('make', 'available'),
    'volume.create.made': Case('make', 'available'),
    'volume.create.finished': Case('make', 'available'),
    'volume.copy.planned': Case('clone', 'available'),
    'volume.copy.running': Case('clone', 'available'),
    'volume.copy.copied': Case('clone', 'available'),
    'volume.copy.finished': Case('clone', 'available'),
    'volume.image.planned': Case('image', 'filled'),
    'volume.image.running': Case('image', 'filled'),
    'volume.image.fetched': Case('image', 'filled'),
    'volume.image.filled': Case('reimage', 'filled'),
    'volume.image.adopted': Case('reimage', 'filled'),
    'volume.image.made': Case('upload', 'imaged'),
    'volume.image.sent': Case('upload', 'imaged'),
    'volume.image.finished': Case('image', 'filled'),
    'volume.delete.planned': Case('destroy', 'deleted'),
    'volume.delete.unexported': Case('destroy', 'deleted'),
    'volume.delete.discarded': Case('destroy', 'deleted'),
    'volume.delete.deleted': Case('destroy', 'deleted'),
    'volume.delete.finished': Case('destroy', 'deleted'),
    'volume.extend.planned': Case('extend', 'extended'),
    'volume.extend.grown': Case('extend', 'extended'),
    'volume.extend.shown': Case('extend', 'extended'),
    'volume.extend.finished': Case('extend', 'extended'),
    'volume.revert.planned': Case('revert', 'reverted'),
    'volume.revert.unexported': Case('revert', 'reverted'),
    'volume.revert.copied': Case('revert', 'reverted'),
    'volume.revert.finished': Case('revert', 'reverted'),
    'volume.snapshot.planned': Case('snapshot', 'taken'),
    'volume.snapshot.running': Case('snapshot', 'taken'),
    'volume.snapshot.taken': Case('snapshot', 'taken'),
    'volume.snapshot.finished': Case('snapshot', 'taken'),
    'volume.snapshot_manage.planned': Case('adopt', 'snapshot managed'),
    'volume.snapshot_manage.renamed': Case('adopt', 'snapshot managed'),
    'volume.snapshot_manage.finished': Case('adopt', 'snapshot managed'),
    'volume.snapshot_delete.planned': Case('forget', 'snapshot deleted'),
    'volume.snapshot_delete.deleted': Case('forget', 'snapshot deleted'),
    'volume.snapshot_delete.finished': Case('forget', 'snapshot deleted'),
    'volume.migrate.planned': Case('migrate', 'migrated'),
    'volume.migrate.running': Case('migrate', 'migrated'),
    'volume.migrate.proven': Case('migrate', 'migrated'),
    'volume.migrate.adopted': Case('migrate', 'migrated'),
    'volume.migrate.switched': Case('migrate', 'migrated'),
    'volume.migrate.clear': Case('migrate', 'migrated'),
    'volume.migrate.undo': Case('stop', 'stayed'),
    'volume.migrate.finished': Case('migrate', 'migrated'),
    'volume.manage.planned': Case('manage', 'managed'),
    'volume.manage.renamed': Case('manage', 'managed'),
    'volume.manage.finished': Case('manage', 'managed'),
    'volume.unmanage.planned': Case('unmanage', 'unmanaged'),
    'volume.unmanage.finished': Case('unmanage', 'unmanaged'),
    'host.attach.begun': Case('plug', 'attached'),
    'host.attach.exported': Case('plug', 'attached'),
    'host.attach.connecting': Case('plug', 'attached'),
    'host.attach.connected': Case('plug', 'attached'),
    'host.attach.plugged': Case('plug', 'attached'),
    'host.attach.finished': Case('plug', 'attached'),
    'host.undo.begun': Case('vanish', 'error_attaching'),
    'host.undo.unplugged': Case('vanish', 'error_attaching'),
    'host.detach.begun': Case('unplug', 'gone'),
    'host.detach.unplugged': Case('unplug', 'gone'),
    'host.detach.finished': Case('unplug', 'gone'),
    'host.session.logged_in': Case('plug', 'attached'),
    'host.session.logged_out': Case('unplug', 'gone'),
    'host.sweep.begun': Case('sweep', 'swept'),
    'host.sweep.unplugged': Case('sweep', 'swept'),
    'host.sweep.finished': Case('sweep', 'swept'),
}

# The same places, come to by other ways.
MORE: tuple[tuple[str, Case], ...] = (
    *((f'volume.image.{name}', Case('reimage', 'filled')) for name in ('planned', 'running', 'fetched', 'finished')),
    *((f'volume.image.{name}', Case('upload', 'imaged')) for name in ('planned', 'running', 'finished')),
    *((f'volume.image.{name}', Case('image', 'filled')) for name in ('filled', 'adopted')),
    *((f'volume.copy.{name}', Case('sprout', 'available')) for name in ('planned', 'running', 'copied', 'finished')),
    ('volume.snapshot.running', Case('revert', 'reverted')),
    ('engine.volume_create.written', Case('image', 'filled')),
    *(
        (f'volume.migrate.{name}', Case('retype', 'migrated'))
        for name in ('planned', 'running', 'proven', 'adopted', 'switched', 'clear', 'finished')
    ),
    *((f'volume.migrate.{name}', Case('stop', 'stayed')) for name in ('planned', 'finished')),
)


def render() -> str:
    """Write the table of the documentation."""
    lines = [
        '.. list-table::',
        '   :header-rows: 1',
        '   :widths: 25 40 35',
        '',
        '   * - Failpoint',
        '     - Killed when',
        '     - Afterwards, by itself',
    ]
    for name, text in failpoints.POINTS.items():
        lines += [f'   * - ``{name}``', f'     - {text}', f'     - {OUTCOMES[CASES[name].outcome]}']
    return '\n'.join(lines)


def read() -> str:
    """Return the table that the documentation has."""
    return DOC.read_text().partition(BEGIN)[2].partition(END)[0].strip()


if __name__ == '__main__':
    head, _, rest = DOC.read_text().partition(BEGIN)
    DOC.write_text(f'{head}{BEGIN}\n\n{render()}\n\n{END}{rest.partition(END)[2]}')
