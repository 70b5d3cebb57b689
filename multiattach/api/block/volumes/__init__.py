# SPDX-License-Identifier: Apache-2.0
"""Volumes, their metadata and the actions on them."""
