# SPDX-License-Identifier: Apache-2.0
"""WSGI applications for servers such as uWSGI and gunicorn."""

from multiattach import concurrency

concurrency.select()  # before the application imports anything else
