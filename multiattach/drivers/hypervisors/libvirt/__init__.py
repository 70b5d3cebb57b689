# SPDX-License-Identifier: Apache-2.0
"""libvirt: the servers of a compute host and their disks."""
