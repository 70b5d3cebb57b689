# SPDX-License-Identifier: Apache-2.0
"""The host agent: connects volumes to the servers of a compute host."""
