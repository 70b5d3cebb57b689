# SPDX-License-Identifier: Apache-2.0
"""Build entry; metadata lives in setup.cfg."""

import configparser
import os
import pathlib
import subprocess

import setuptools

_TOP = pathlib.Path(__file__).resolve().parent


def _git_knows_this_tree() -> bool:
    try:
        done = subprocess.run(
            ['git', 'rev-parse', '--show-prefix', 'HEAD'], cwd=_TOP, capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    # A prefix: this tree lies in a repository of something else.
    return done.returncode == 0 and not done.stdout.splitlines()[0]


# pbr asks git for a version and fails where there is no repository, or one of another owner. What was made of
# a source distribution has that one's version.
if not (_TOP / 'PKG-INFO').exists() and not _git_knows_this_tree():
    known = configparser.ConfigParser()
    known.read(_TOP / 'setup.cfg')
    os.environ.setdefault('PBR_VERSION', known['metadata']['version'])

setuptools.setup(setup_requires=['pbr'], pbr=True)
