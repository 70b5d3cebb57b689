# SPDX-License-Identifier: Apache-2.0
"""iSCSI initiators of our own, byte by byte: they can lie, stop half-way, and account for each write."""
