# SPDX-License-Identifier: Apache-2.0
from multiattach import concurrency

concurrency.select()  # MULTIATTACH_CONCURRENCY=eventlet runs the same tests on green threads
