# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a policy file."""

import pytest
from oslo_config import cfg
from oslo_policy import opts

from multiattach.cmd import checks


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (None, None),
        ('', None),
        ('"volume:get": "role:reader"\n', None),
        ('"my_own": "role:x"\n"volume:get": "rule:my_own or not rule:admin_api"\n', None),
        ('"volume:gett": "role:reader"\n', 'nobody asks rule volume:gett; did you mean volume:get?'),
        ('"volume:get": [\n', 'Option policy_file in [oslo_policy]'),
        ('"volume:get": "rule:no_such_rule"\n', 'Option policy_file in [oslo_policy]'),
        ('- a\n- list\n', 'Option policy_file in [oslo_policy]'),
    ],
)
def test_policy_file(tmp_path, text, said):
    path = tmp_path / 'policy.yaml'
    if text is not None:
        path.write_text(text)
    conf = cfg.ConfigOpts()
    conf([], project='multiattach', default_config_files=[], default_config_dirs=[])
    opts._register(conf)
    conf.set_override('policy_file', str(path), group='oslo_policy')
    found = checks.check_policy(conf)
    if said is None:
        assert found == []
    else:
        assert len(found) == 1
        assert said in found[0]
