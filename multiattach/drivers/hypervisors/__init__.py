# SPDX-License-Identifier: Apache-2.0
"""Hypervisor drivers: how a server gets a device of its host."""
