# SPDX-License-Identifier: Apache-2.0
"""What Ceph's monitors and OSDs are asked, by librados and librbd."""
