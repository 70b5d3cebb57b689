# SPDX-License-Identifier: Apache-2.0
"""The target driver ``lio``: iSCSI targets of the kernel, changed through configfs."""
