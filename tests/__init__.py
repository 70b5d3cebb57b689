# SPDX-License-Identifier: Apache-2.0
import importlib.util

# MULTIATTACH_CONCURRENCY=eventlet runs the same tests on green threads. Where packages are only being installed
# ("python3 -m tests.testbed install") there is no library yet.
if importlib.util.find_spec('oslo_service') is not None:
    from multiattach import concurrency

    concurrency.select()
