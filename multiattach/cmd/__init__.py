# SPDX-License-Identifier: Apache-2.0
"""Programs: only here and in ``wsgi`` are the parts put together."""

from multiattach import concurrency

concurrency.select()  # before any program imports anything else
