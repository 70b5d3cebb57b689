# SPDX-License-Identifier: Apache-2.0
"""Horizon's own settings, but for what a test bed has not: memcached, compiled styles, TLS."""

import concurrent.futures
import os
import types

from openstack_dashboard.settings import *  # type: ignore[import-not-found]  # noqa: F403
from openstack_dashboard.utils import futurist_utils  # type: ignore[import-not-found]


class _Pool(concurrent.futures.ThreadPoolExecutor):
    def submit(self, fn):  # type: ignore[no-untyped-def,override]  # Horizon names the parameter
        return super().submit(fn)


# futurist's threads look once a second whether they are to end, and each page waits for that several times.
futurist_utils.futurist = types.SimpleNamespace(ThreadPoolExecutor=_Pool)

ALLOWED_HOSTS = ['127.0.0.1']
OPENSTACK_KEYSTONE_URL = os.environ['OPENSTACK_KEYSTONE_URL']
CACHES = {'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}
COMPRESS_ENABLED = False
COMPRESS_PRECOMPILERS = ()
LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'handlers': {'console': {'class': 'logging.StreamHandler'}},
    'root': {'handlers': ['console'], 'level': 'INFO'},
}
