# SPDX-License-Identifier: Apache-2.0
"""Horizon for gunicorn, with the settings beside this file."""

import os

os.environ['DJANGO_SETTINGS_MODULE'] = 'horizon_settings'

from django.core.wsgi import get_wsgi_application  # type: ignore[import-not-found]

application = get_wsgi_application()
