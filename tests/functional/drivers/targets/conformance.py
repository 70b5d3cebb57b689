# SPDX-License-Identifier: Apache-2.0
"""libiscsi's conformance suite (``iscsi-test-cu``) on an export, and the page that says how each test ends."""

import csv
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multiattach.drivers.targets.base import Grant, TargetInfo

PAGE = Path(__file__).resolve().parents[4] / 'doc/source/reference/conformance.rst'
FAMILIES = (
    'PrinReadKeys',
    'PrinServiceactionRange',
    'PrinReportCapabilities',
    'ProutRegister',
    'ProutReserve',
    'ProutClear',
    'ProutPreempt',
    'CompareAndWrite',
    'WriteSame10',
    'WriteSame16',
    'Unmap',
)
_TEST = re.compile(r'^  Test: (\w+) \.\.\.(.*?)(passed|FAILED)$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Outcome:
    """How one test ended.

    :param word: ``passed``, ``failed`` or ``skipped``, when the target says that it lacks what is tested.
    :param said: what the suite said of it.
    """

    word: str
    said: str


def run_family(
    family: str, info: TargetInfo, grant: Grant, second: str, wrap: Sequence[str] = ()
) -> dict[str, Outcome]:
    """Run the tests of a family; what the volume has is lost.

    :param grant: of the first initiator; its account is used by the second one, too.
    :param second: name of another initiator that is admitted.
    :param wrap: what the command is put behind, such as ``ip netns exec NAME``.
    :returns: outcomes by names as ``ProutReserve.Simple``.
    """
    argv = ['iscsi-test-cu', '--dataloss', '-i', grant.initiator, '-I', second, '-t', f'SCSI.{family}']
    account = {'LIBISCSI_CHAP_USERNAME': grant.username, 'LIBISCSI_CHAP_PASSWORD': grant.secret}
    done = subprocess.run(
        [*wrap, *argv, f'iscsi://{info.portal}/{info.iqn}/{info.lun}'],
        env={**os.environ, **account},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = {f'{family}.{name}': _judge(said, word) for name, said, word in _TEST.findall(done.stdout)}
    counted = re.search(r'^ +tests +\d+ +(\d+)', done.stdout, re.MULTILINE)
    assert counted is not None, done.stdout + done.stderr
    assert len(found) == int(counted[1]) > 0, done.stdout
    return found


def _judge(said: str, word: str) -> Outcome:
    # CUnit has no word for what was left out.
    return Outcome('skipped' if '[SKIPPED]' in said else word.lower(), said.strip())


def read_page(driver: str) -> dict[str, str]:
    """Read from the page how each test ends.

    :param driver: a column of its table.
    :returns: words by names.
    """
    lines = PAGE.read_text().splitlines()
    start = lines.index('.. csv-table::')
    (header,) = csv.reader([lines[start + 1].partition(':header: ')[2]], skipinitialspace=True)
    rows = (line.strip() for line in lines[start + 2 :] if line.startswith('   ') and not line.startswith('   :'))
    return {row[0]: row[header.index(driver)] for row in csv.reader(rows, skipinitialspace=True)}
