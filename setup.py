# SPDX-License-Identifier: Apache-2.0
"""Build entry; metadata lives in setup.cfg."""

import os
import subprocess

import setuptools


def _git_knows_this_tree() -> bool:
    try:
        done = subprocess.run(['git', 'rev-parse', 'HEAD'], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


# pbr asks git for a version and fails where there is no repository, or one of another owner.
if not _git_knows_this_tree():
    os.environ.setdefault('PBR_VERSION', '0.1.0')

setuptools.setup(setup_requires=['pbr'], pbr=True)
