# SPDX-License-Identifier: Apache-2.0
import pathlib
import subprocess
import sys


def test_connections_are_redirected_and_come_back() -> None:
    """By the machine's packet filter, in a network namespace of its own."""
    scene = pathlib.Path(__file__).with_name('redirect_scene.py')
    done = subprocess.run(
        ['unshare', '--net', sys.executable, str(scene)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
