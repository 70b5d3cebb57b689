# SPDX-License-Identifier: Apache-2.0
"""What is wrong in configuration files."""

import pytest
from oslo_config import cfg
from oslo_log import log

from multiattach import conf as configuration
from multiattach.conf import audit

SECRET = 's3cretword'


def inspect(path):
    conf = cfg.ConfigOpts()
    configuration.register_opts(conf)
    log.register_options(conf)
    conf(['--config-file', str(path)], project='multiattach')
    return [str(finding) for finding in audit.inspect(conf)]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[DEFAULT]\nuse_jsn = true\n', '[DEFAULT]: unknown option use_jsn; did you mean use_json?'),
        ('[databse]\nx = 1\n', 'unknown section; did you mean [database]?'),
        ('[api]\ntransport_url = rabbit://x\n', 'it belongs in [DEFAULT]'),
        ('[api]\nauth_strategy = hope\n', 'auth_strategy has an invalid value'),
        ('[DEFAULT]\nrpc_response_timeout = soon\n', 'rpc_response_timeout has an invalid value'),
        ('[oslo_messaging_rabbit]\nrabbit_quorum_queue = maybe\n', 'rabbit_quorum_queue has an invalid value'),
        ('[volume]\nenabled_backends = fast\n[fast]\ndirectry = /x\n', 'did you mean directory?'),
        ('[volume]\nenabled_backends = fast\n[fast]\ndriver = tape\n', 'driver has an invalid value'),
        ('[volume]\nenabled_backends = fast\n[file]\ndriver = lvm\n', 'unknown section'),
        (
            f'[keystone_authtoken]\nauth_type = password\npassword = {SECRET}\nauth_ulr = {SECRET}\n',
            'did you mean auth_url?',
        ),
        (f'[nova]\nauth_type = password\npasswort = {SECRET}\n', 'did you mean password?'),
        ('[metrics]\nlistn = 1\n', 'did you mean listen?'),
        ('[healthcheck]\nbackend = x\n', 'did you mean backends?'),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    path = tmp_path / 'x.conf'
    path.write_text(text)
    [found] = inspect(path)
    assert found.startswith(str(path))
    assert said in found
    assert SECRET not in found


def test_all_at_once(tmp_path):
    path = tmp_path / 'x.conf'
    path.write_text('[api]\nauth_strategy = hope\nthreads = no\n[tgt]\nprtal = x\n')
    assert len(inspect(path)) == 3


def test_what_is_right(tmp_path):
    path = tmp_path / 'x.conf'
    path.write_text(f"""[DEFAULT]
transport_url = rabbit://u:{SECRET}@127.0.0.1:1/
use_json = true
logfile = the old name of log_file
[volume]
enabled_backends = fast,slow
[fast]
driver = lvm
volume_group = x
[slow]
directory = /x
[keystone_authtoken]
auth_type = password
auth_url = http://192.0.2.1:5000
username = m
password = {SECRET}
project_name = service
user_domain_id = default
memcached_servers = 192.0.2.1:11211
[oslo_messaging_rabbit]
rabbit_quorum_queue = true
[oslo_messaging_notifications]
driver = messagingv2
[oslo_middleware]
max_request_body_size = 1000
[oslo_reports]
log_dir = /tmp
[nova]
auth_type = password
auth-url = http://192.0.2.1:5000
""")
    assert inspect(path) == []


def test_every_group_is_in_the_sample():
    """The generator's input lists every library whose options a program reads."""
    import pathlib

    text = pathlib.Path(configuration.__file__).parents[2].joinpath('etc/multiattach/config-generator.conf').read_text()
    listed = {line.removeprefix('namespace = ') for line in text.splitlines() if 'namespace' in line}
    assert listed == set(audit.NAMESPACES)
    groups = {group for group, _opts in configuration.list_opts()}
    assert groups >= {module.GROUP for module in configuration._GROUPS}
