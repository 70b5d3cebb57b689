# SPDX-License-Identifier: Apache-2.0
"""Drivers: what touches targets, backends, initiators and hypervisors."""
