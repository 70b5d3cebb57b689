# SPDX-License-Identifier: Apache-2.0
"""Glance's API for gunicorn: Glance reads the command line itself and would die of gunicorn's."""

import os
import sys
from typing import Any

sys.argv[1:] = []

from glance.wsgi.api import application as glance  # type: ignore[import-not-found]  # noqa: E402

# What Keystone's middleware would say of every caller, where there is no Keystone.
_EVERYBODY = {
    'HTTP_X_IDENTITY_STATUS': 'Confirmed',
    'HTTP_X_ROLES': 'admin,member,reader',
    'HTTP_X_USER_ID': 'u' * 32,
    'HTTP_X_PROJECT_ID': 'a' * 32,
}
_trusts = 'GLANCE_TRUSTS_EVERYBODY' in os.environ


def application(environ: dict[str, Any], start_response: Any) -> Any:
    return glance({**environ, **_EVERYBODY} if _trusts else environ, start_response)
