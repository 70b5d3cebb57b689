# SPDX-License-Identifier: Apache-2.0
"""The target driver ``rbd``: hosts open images of Ceph themselves, each attachment as a cephx user of its own."""
