# SPDX-License-Identifier: Apache-2.0
"""Connectors: how a compute host reaches a volume."""
