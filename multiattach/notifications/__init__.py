# SPDX-License-Identifier: Apache-2.0
"""Notifications as consumers of Cinder's know them, off by default."""
