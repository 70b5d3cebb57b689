# SPDX-License-Identifier: Apache-2.0
"""The rules of sharing a volume, without SQL, I/O or OpenStack libraries."""
