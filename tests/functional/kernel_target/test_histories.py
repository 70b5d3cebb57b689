# SPDX-License-Identifier: Apache-2.0
"""Random histories of the real service on the kernel's target; those of tests/histories are on tgtd."""

import pathlib

import pytest

from tests.histories.generator import crowd
from tests.histories.kernel import KernelQuick
from tests.histories.runner import run_history
from tests.histories.test_histories import _MIX, _SEED, _explain, check_that_drift_is_seen

pytestmark = [pytest.mark.kernel_target, pytest.mark.slow]


def test_histories_of_one_process(tmp_path: pathlib.Path) -> None:
    with crowd() as people, KernelQuick(tmp_path).run() as field:
        for number, names in enumerate([('pause',), ('cheat',), ('service',), ('pause',), ('cheat',)]):
            outcome = run_history(field, people, f'{_SEED}-{number}', names=names, share=1.0, mix=_MIX, refusals=True)
            assert outcome.failures == [], f'{_explain(outcome)}\n{field.report()}'
            assert len(outcome.events) >= 15
        check_that_drift_is_seen(field)
