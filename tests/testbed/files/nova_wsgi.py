# SPDX-License-Identifier: Apache-2.0
"""Nova's Compute API for gunicorn: Nova reads the command line itself and would die of gunicorn's."""

import sys

sys.argv[1:] = []

from nova.wsgi.osapi_compute import application  # type: ignore[import-not-found]  # noqa: E402

__all__ = ['application']
