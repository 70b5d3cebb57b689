# SPDX-License-Identifier: Apache-2.0
"""Tables, queries, and the one writer of states."""
