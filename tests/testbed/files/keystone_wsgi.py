# SPDX-License-Identifier: Apache-2.0
"""Keystone for gunicorn: Keystone reads the command line itself and would die of gunicorn's."""

import sys

sys.argv[1:] = []

from keystone.wsgi.api import application  # type: ignore[import-not-found]  # noqa: E402

__all__ = ['application']
