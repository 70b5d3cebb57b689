# SPDX-License-Identifier: Apache-2.0
"""What promtool and Prometheus would say of the text that a program shows."""

import collections

from prometheus_client.openmetrics import parser

ACCEPT = 'application/openmetrics-text; version=1.0.0'


def check(plain: str, strict: str) -> None:
    """Parse the text in OpenMetrics' own form strictly, and look for families declared twice in both.

    :param plain: what is shown to whoever asks for nothing else.
    :param strict: what is shown to whoever takes OpenMetrics.
    """
    assert strict.endswith('# EOF\n')
    families = [family.name for family in parser.text_string_to_metric_families(strict)]
    assert any(name.startswith('multiattach_') for name in families)
    for text in (plain, strict):
        for word in ('HELP', 'TYPE'):
            declared = collections.Counter(
                line.split()[2] for line in text.splitlines() if line.startswith(f'# {word} ')
            )
            assert declared
            assert not [name for name, number in declared.items() if number > 1]
