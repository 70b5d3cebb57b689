# SPDX-License-Identifier: Apache-2.0
"""Use cases and their transactions; policy is asked here, after the load."""
