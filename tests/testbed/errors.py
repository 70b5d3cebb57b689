# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the test bed."""


class TestbedError(RuntimeError):
    """A part of the test bed could not be built, started or stopped."""

    __test__ = False  # pytest would otherwise take the name for a test class


class WaitTimeoutError(TestbedError, AssertionError):
    """Something awaited did not happen in time: whether it ever will is not known, and the test has failed."""
