# SPDX-License-Identifier: Apache-2.0
"""Messages for where Ceph's modules are not; that they are found, see tests/functional/drivers/backends."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.path = [path for path in sys.path if 'dist-packages' not in path]
from multiattach.drivers.ceph import library
from multiattach.drivers.errors import StorageError
try:
    library.load([sys.argv[1]])
except StorageError as exc:
    print(exc)
    print({'rados', 'rbd'} & set(sys.modules))
"""


def load(folder):
    argv = [sys.executable, '-c', PROGRAM, str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_a_package_that_is_not_installed_is_named(tmp_path):
    said, left = load(tmp_path)
    assert 'Install the package python3-rados' in said
    assert str(tmp_path) in said
    assert left == 'set()'


def test_modules_of_another_python_are_said_to_be_there(tmp_path):
    (tmp_path / 'rados.cpython-36m-x86_64-linux-gnu.so').touch()
    said, _ = load(tmp_path)
    assert f'for Python {sys.version_info.major}.{sys.version_info.minor} there is none' in said
    assert 'Found was rados.cpython-36m-x86_64-linux-gnu.so' in said


@pytest.mark.parametrize('text', ['import no_such_module', 'raise ImportError("librados.so.2 is missing")'])
def test_modules_that_cannot_be_used_are_left_out(tmp_path, text):
    (tmp_path / 'rados.py').write_text(text)
    said, left = load(tmp_path)
    assert 'The module rados of Ceph cannot be imported: ' in said
    assert left == 'set()'
