# SPDX-License-Identifier: Apache-2.0
import logging
import re
import time

from multiattach.domain import errors
from multiattach.periodic import Periodic
from multiattach.trouble import Trouble

LOG = logging.getLogger('test.trouble')


def read(caplog):
    """Read what was logged; how long it took, a busy machine decides."""
    return [re.sub(r' in \d+ s', ' in N s', record.getMessage()) for record in caplog.records]


def test_one_line_when_it_begins_and_one_when_it_is_over(caplog):
    trouble = Trouble(LOG, 'The thing')
    trouble.end()
    for _ in range(1000):
        trouble.note('is away')
    assert read(caplog) == ['The thing is away']
    trouble.end()
    trouble.end()
    assert read(caplog)[1:] == ['The thing works again; it failed 1000 times in N s']
    trouble.note('is away')
    assert len(read(caplog)) == 3


def test_a_count_between_and_another_reason(caplog):
    trouble = Trouble(LOG, 'The thing', remind=0.05)
    trouble.note('is away')
    time.sleep(0.1)
    trouble.note('is away')
    trouble.note('is in pieces')
    assert read(caplog) == ['The thing is away', 'The thing is away (2 times in N s)', 'The thing is in pieces']


def test_periodic_work_that_fails_is_told_of_once(caplog):
    wrong = [RuntimeError('bad')]

    def call():
        if wrong:
            raise wrong[0]

    periodic = Periodic('test', 1.0, (call,))
    for _ in range(50):
        periodic._run_once()
    assert read(caplog) == ['test: periodic call call failed (RuntimeError)']
    assert caplog.records[0].exc_info
    wrong.clear()
    periodic._run_once()
    assert read(caplog)[1:] == ['test: periodic call call works again; it failed 50 times in N s']
    wrong.append(errors.DatabaseAway('gone'))  # whoever connects to it tells
    periodic._run_once()
    assert len(read(caplog)) == 2
