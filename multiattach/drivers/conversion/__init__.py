# SPDX-License-Identifier: Apache-2.0
"""Disk formats: what is in a file of a stranger, and the bytes of the disk that it stands for."""
